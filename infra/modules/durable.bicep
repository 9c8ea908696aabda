metadata description = 'Durable Task Scheduler with one task hub.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Name of the scheduler.')
param name string

@description('Required. Consumption bills per action; Dedicated has capacity of its own.')
@allowed(['Consumption', 'Dedicated'])
param sku string

@description('Required. Address ranges that may connect. An empty list would refuse everybody.')
@minLength(1)
param allowedAddresses string[]

@description('Required. Accept connections over private endpoints only.')
param private bool

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    ipAllowlist: allowedAddresses
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    sku: {
      name: sku
    }
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: 'rotation'
  properties: {}
}

// Finished rotations are listed for as long; Dedicated would keep them for ever.
resource retention 'Microsoft.DurableTask/schedulers/retentionPolicies@2026-02-01' = {
  parent: scheduler
  name: 'default'
  properties: {
    retentionPolicies: [
      {
        retentionPeriodInDays: 30
      }
    ]
  }
}

@description('Resource id of the scheduler.')
output id string = scheduler.id

@description('Name of the scheduler.')
output name string = scheduler.name

@description('Endpoint that the app connects to.')
output endpoint string = scheduler.properties.endpoint

@description('Name of the task hub.')
output hub string = hub.name

metadata description = 'The Event Grid topic that announces rotations. Publishing needs an Entra token: there are no keys.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Name of the topic.')
param name string

resource topic 'Microsoft.EventGrid/topics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  // Writes dead letters. Past the firewall of a storage account Event Grid comes with no other kind.
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    inputSchema: 'EventGridSchema'
    disableLocalAuth: true
    minimumTlsVersionAllowed: '1.2'
    publicNetworkAccess: 'Enabled'
  }
}

@description('Resource id of the topic.')
output id string = topic.id

@description('Name of the topic.')
output name string = topic.name

@description('Object id of its identity, which writes dead letters.')
output principalId string = topic.identity.principalId

@description('Where events are published.')
output endpoint string = topic.properties.endpoint

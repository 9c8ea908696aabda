metadata description = 'The storage account of the Functions host: packages, leases, dead letters. No shared keys.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Name of the account.')
param name string

@description('Required. Redundancy, for example Standard_ZRS or Standard_LRS.')
param sku string

@description('Required. Refuse everything but private endpoints and trusted services.')
param private bool

@description('Required. How long the record of a finished rotation stays, in days; 0 for ever.')
@minValue(0)
param recordDays int

@description('Required. For how many days the record of a finished rotation can be neither changed nor deleted, by anybody; 0 for no such policy.')
@minValue(0)
@maxValue(146000)
param recordImmutableDays int

var packagesName = 'packages'
var deadLettersName = 'dead-letters'
// The names that the code has: rotation/contracts/store.py.
var recordsName = 'credential-rotation-records'
var notesName = 'credential-rotation-notes'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Not 'Disabled' even then: Event Grid writes dead letters as a trusted service.
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: private ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource packages 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: packagesName
  properties: {
    publicAccess: 'None'
  }
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: deadLettersName
  properties: {
    publicAccess: 'None'
  }
}

resource records 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: recordsName
  properties: {
    publicAccess: 'None'
  }
}

// Not locked, which nobody could take back: whoever may administer the account can lift it, and locks it by hand
// once it has proved itself. Each record is written once, so that nothing of the app is in its way.
resource recordsImmutable 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-01-01' = if (recordImmutableDays > 0) {
  parent: records
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: recordImmutableDays
    allowProtectedAppendWrites: false
  }
}

resource notes 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: notesName
  properties: {
    publicAccess: 'None'
  }
}

var forgetRecords = {
  name: 'forget-records'
  enabled: true
  type: 'Lifecycle'
  definition: {
    filters: {
      blobTypes: ['blockBlob']
      prefixMatch: ['${recordsName}/']
    }
    actions: {
      baseBlob: {
        delete: {
          daysAfterModificationGreaterThan: recordDays
        }
      }
    }
  }
}

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: concat(recordDays > 0 ? [forgetRecords] : [], [
        {
          name: 'forget-dead-letters'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${deadLettersName}/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: 90
                }
              }
            }
          }
        }
      ])
    }
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('Endpoint of its blobs, with a slash at the end.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('Endpoint of its queues.')
output queueEndpoint string = account.properties.primaryEndpoints.queue

@description('Endpoint of its tables.')
output tableEndpoint string = account.properties.primaryEndpoints.table

@description('Container that holds the deployed package.')
output packagesContainer string = packages.name

@description('Containers of the app\'s own: records of finished rotations, and what it notes for itself.')
output appContainers string[] = [records.name, notes.name]

@description('Container that Event Grid writes undeliverable events to.')
output deadLettersContainer string = deadLetters.name

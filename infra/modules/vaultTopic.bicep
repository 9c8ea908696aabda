metadata description = 'The system topic of one vault, deployed to the vault\'s resource group: the one that is there, or a new one.'

import { texts } from '../types.bicep'

@description('Required. Region of the vault: a system topic lives where its source does.')
param location string

@description('Required. Tags of a new topic.')
param tags texts

@description('Required. Name of the vault.')
param vaultName string

@description('Required. Name of the topic that the vault has already; empty to make one. It is used as it is.')
param existingName string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource given 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!empty(existingName)) {
  name: empty(existingName) ? 'none' : existingName
}

// Two environments may share a vault, and so this topic: nothing in it is of one environment.
resource made 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (empty(existingName)) {
  name: 'evgt-${vaultName}'
  location: location
  tags: tags
  // Writes dead letters. Past the firewall of a storage account Event Grid comes with no other kind.
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: vault.id
    topicType: 'Microsoft.KeyVault.vaults'
  }
}

@description('Resource id of the topic.')
output id string = empty(existingName) ? made.id : given.id

@description('Name of the topic.')
output name string = empty(existingName) ? made.name : existingName

@description('Object id of its system-assigned identity; empty if it has none.')
output principalId string = empty(existingName) ? made!.identity.principalId : given!.?identity.?principalId ?? ''

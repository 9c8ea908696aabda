metadata description = 'One vault\'s system topic with its subscription, deployed to the vault\'s resource group.'

import { texts } from '../types.bicep'

@description('Region of the vault: a system topic lives where its source does.')
param location string

@description('Tags of every resource.')
param tags texts

@description('Name of the vault.')
param vaultName string

@description('Name of the system topic.')
param topicName string

@description('Name of the subscription, unique in the topic.')
param subscriptionName string

@description('Resource id of the function that takes the events.')
param functionId string

@description('Identity that writes dead letters.')
param identityId string

@description('Resource id of the storage account for dead letters.')
param storageAccountId string

@description('Its container.')
param deadLettersContainer string

@description('Action group for lost events.')
param actionGroupId string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: topicName
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    source: vault.id
    topicType: 'Microsoft.KeyVault.vaults'
  }
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: subscriptionName
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: functionId
        // The trigger starts one orchestration for each event: a batch would share one failure.
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: {
      // Never SecretNewVersionCreated: each rotation would start the next.
      includedEventTypes: ['Microsoft.KeyVault.SecretNearExpiry', 'Microsoft.KeyVault.SecretExpired']
    }
    retryPolicy: {
      eventTimeToLiveInMinutes: 1440
      maxDeliveryAttempts: 30
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: identityId
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storageAccountId
          blobContainerName: deadLettersContainer
        }
      }
    }
  }
}

resource lost 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'rotation-event-lost-${vaultName}'
  location: 'global'
  tags: tags
  properties: {
    description: 'An event of Key Vault ${vaultName} could not be delivered. The daily sweep still finds the secret. See docs/operations.md.'
    enabled: true
    severity: 2
    scopes: [topic.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'dead-letters'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DeadLetteredCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}

@description('Resource id of the subscription.')
output id string = subscription.id

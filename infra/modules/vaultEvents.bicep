metadata description = 'The subscription to the events of one vault and the alert about lost ones, deployed to the vault\'s resource group.'

import { texts } from '../types.bicep'

@description('Required. Tags of the alert.')
param tags texts

@description('Required. Name of the vault.')
param vaultName string

@description('Required. Name of the vault\'s system topic.')
param topicName string

@description('Required. Name of the function app: names the subscription and the alert, so that another environment on this vault has its own.')
param functionAppName string

@description('Required. Resource id of the function that takes the events.')
param functionId string

@description('Required. Resource id of the storage account for dead letters.')
param storageAccountId string

@description('Required. Its container.')
param deadLettersContainer string

@description('Required. Action group for lost events.')
param actionGroupId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: functionAppName
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
        type: 'SystemAssigned'
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
  name: 'rotation-event-lost-${vaultName}-${functionAppName}'
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

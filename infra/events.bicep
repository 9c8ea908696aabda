metadata name = 'Credential rotation: event subscriptions'
metadata description = 'Deployed after the code: Event Grid refuses a destination function that does not exist yet.'

import { texts } from 'types.bicep'

targetScope = 'resourceGroup'

@description('Optional. Tags of every resource (output TAGS, as JSON).')
param tags texts = {}

@description('Required. Name of the function app (output FUNCTION_APP_NAME of main.bicep).')
param functionAppName string

@description('Required. Name of its storage account (output STORAGE_ACCOUNT_NAME).')
param storageAccountName string

@description('Required. Container of dead letters (output DEAD_LETTERS_CONTAINER).')
param deadLettersContainer string

@description('Required. Resource id of the action group (output ACTION_GROUP_ID).')
param actionGroupId string

@description('Required. Name of the topic that announces rotations (output TOPIC_NAME).')
param topicName string

@description('Optional. Name of the workflow that sends mail (output MAIL_WORKFLOW_NAME); empty for none.')
param mailWorkflowName string = ''

@description('Optional. Name of the workflow that posts to Teams (output TEAMS_WORKFLOW_NAME); empty for none.')
param teamsWorkflowName string = ''

@description('Optional. Name of the workflow that posts to Slack (output SLACK_WORKFLOW_NAME); empty for none.')
param slackWorkflowName string = ''

@description('Required. Resource ids of the vaults (output VAULT_IDS, split at commas).')
@minLength(1)
param vaultIds string[]

@description('Required. Names of the system topics that they have already, in the same order; empty where one is to be made (output VAULT_TOPICS).')
@minLength(1)
param vaultTopics string[]

@description('Required. Regions of the vaults, in the same order.')
@minLength(1)
param vaultLocations string[]

var workflows = filter(
  [
    { name: 'mail', workflow: mailWorkflowName }
    { name: 'teams', workflow: teamsWorkflowName }
    { name: 'slack', workflow: slackWorkflowName }
  ],
  item => !empty(item.workflow)
)

resource app 'Microsoft.Web/sites@2025-03-01' existing = {
  name: functionAppName
}

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource topic 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: topicName
}

module vaultTopic 'modules/vaultTopic.bicep' = [
  for (id, index) in vaultIds: {
    name: 'vault-topic-${uniqueString(id, functionAppName)}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      location: vaultLocations[index]
      tags: tags
      vaultName: last(split(id, '/'))
      existingName: vaultTopics[index]
    }
  }
]

module deadLetterGrant 'modules/deadLetterGrant.bicep' = [
  for (id, index) in vaultIds: {
    name: 'dead-letter-grant-${uniqueString(id, functionAppName)}'
    params: {
      topicId: vaultTopic[index].outputs.id
      principalId: vaultTopic[index].outputs.principalId
      storageAccountName: storageAccountName
      deadLettersContainer: deadLettersContainer
    }
  }
]

module vaultEvents 'modules/vaultEvents.bicep' = [
  for (id, index) in vaultIds: {
    name: 'vault-events-${uniqueString(id, functionAppName)}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    dependsOn: [deadLetterGrant]
    params: {
      tags: tags
      vaultName: last(split(id, '/'))
      topicName: vaultTopic[index].outputs.name
      functionAppName: functionAppName
      functionId: '${app.id}/functions/on_secret_event'
      storageAccountId: account.id
      deadLettersContainer: deadLettersContainer
      actionGroupId: actionGroupId
    }
  }
]

// A workflow's address carries its signature. It goes from Azure to Azure: it is neither an output
// nor a parameter, and the deployment's history does not show it.
resource told 'Microsoft.EventGrid/topics/eventSubscriptions@2025-02-15' = [
  for item in workflows: {
    parent: topic
    name: item.name
    properties: {
      eventDeliverySchema: 'EventGridSchema'
      destination: {
        endpointType: 'WebHook'
        properties: {
          endpointUrl: listCallbackUrl(
            resourceId('Microsoft.Logic/workflows/triggers', item.workflow, 'event'),
            '2019-05-01'
          ).value
          maxEventsPerBatch: 1
          preferredBatchSizeInKilobytes: 64
        }
      }
      filter: {
        includedEventTypes: [
          'CredentialRotation.Compromised'
          'CredentialRotation.LoginCut'
          'CredentialRotation.AwaitingConfirmation'
          'CredentialRotation.ExpiresBeforeWindow'
          'CredentialRotation.AwaitingApproval'
          'CredentialRotation.Reminder'
          'CredentialRotation.StillInUse'
          'CredentialRotation.LoginFails'
          'CredentialRotation.Completed'
          'CredentialRotation.RolledBack'
          'CredentialRotation.Aborted'
          'CredentialRotation.NeedsAttention'
        ]
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
            resourceId: account.id
            blobContainerName: deadLettersContainer
          }
        }
      }
    }
  }
]

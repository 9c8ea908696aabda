metadata description = 'The right of one Event Grid topic to write dead letters.'

@description('Required. Resource id of the topic.')
param topicId string

@description('Required. Object id of its system-assigned identity.')
param principalId string

@description('Required. Name of the host\'s storage account.')
param storageAccountName string

@description('Required. Its container of dead letters.')
param deadLettersContainer string

var roles = loadJsonContent('../roles.json')

// An identity that a topic does not have would be granted nothing, and say so only as a lost event.
var identity = empty(principalId)
  ? fail('${topicId} has no system-assigned identity: docs/deploy.md, "An existing system topic", has the command')
  : principalId

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: account
  name: 'default'
}

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  parent: blobs
  name: deadLettersContainer
}

// Event Grid puts undeliverable events into this container alone.
resource buryEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(deadLetters.id, identity, roles.storageBlobDataContributor)
  scope: deadLetters
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.storageBlobDataContributor
    )
    principalId: identity
    principalType: 'ServicePrincipal'
  }
}

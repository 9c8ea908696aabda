metadata description = 'Every role of every identity on what the deployment itself creates. Roles on Key Vault secrets are in vaultGrants.bicep, since a vault may live elsewhere, and those of Event Grid topics in deadLetterGrant.bicep, since each vault has one.'

@description('Required. Object id of the app\'s identity.')
param appPrincipalId string

@description('Required. Name of the host\'s storage account.')
param storageAccountName string

@description('Required. Container of the deployed package.')
param packagesContainer string

@description('Required. Containers of the app\'s own.')
param appContainers string[]

@description('Required. Name of the Durable Task Scheduler; empty when Azure Storage keeps the orchestrations.')
param schedulerName string

@description('Required. Name of its task hub.')
param hubName string

@description('Required. Name of the topic that announces rotations.')
param topicName string

@description('Required. Name of Application Insights.')
param insightsName string

var roles = loadJsonContent('../roles.json')
var onStorage = empty(schedulerName)

// Of the host: the package; leases and timers; function and system keys. Of a hub in Azure Storage: leases of its
// partitions and of the app, and what is too large for a message. Of the app: records of finished rotations, its notes.
var hostContainers = [packagesContainer, 'azure-webjobs-hosts', 'azure-webjobs-secrets']
var hubPrefix = toLower(hubName)
var hubContainers = onStorage ? ['${hubPrefix}-leases', '${hubPrefix}-applease', '${hubPrefix}-largemessages'] : []
var ownContainers = join(concat(hostContainers, hubContainers, appContainers), '\', \'')
var blobActions = 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/*'
var containerName = '@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name]'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' existing = if (!onStorage) {
  name: onStorage ? 'none' : schedulerName
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' existing = if (!onStorage) {
  parent: scheduler
  name: hubName
}

resource topic 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: topicName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// The host keeps its leases, timer state and keys in blobs, creates the containers for them, and
// fetches the package. Contributor is not enough for the host, says its documentation, nor is a
// container as the scope: it must be able to create them. The condition keeps the blobs of all other
// containers from it.
resource hostBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, appPrincipalId, roles.storageBlobDataOwner)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataOwner)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    conditionVersion: '2.0'
    condition: '((!(ActionMatches{\'${blobActions}\'})) OR (${containerName} ForAnyOfAnyValues:StringEquals {\'${ownContainers}\'}))'
  }
}

// Work items and control messages of orchestrations. Not needed with the scheduler.
resource durableQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (onStorage) {
  name: guid(account.id, appPrincipalId, roles.storageQueueDataContributor)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.storageQueueDataContributor
    )
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// History, instances and partitions of orchestrations. Not needed with the scheduler.
resource durableTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (onStorage) {
  name: guid(account.id, appPrincipalId, roles.storageTableDataContributor)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.storageTableDataContributor
    )
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Starts, runs and queries orchestrations: in this task hub alone.
resource durableHub 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!onStorage) {
  name: guid(hub.id, appPrincipalId, roles.durableTaskDataContributor)
  scope: hub
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.durableTaskDataContributor
    )
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Announces rotations: publishes to this topic, cannot read or change it.
resource announce 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(topic.id, appPrincipalId, roles.eventGridDataSender)
  scope: topic
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.eventGridDataSender)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Sends telemetry, since keys are refused.
resource telemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, roles.monitoringMetricsPublisher)
  scope: insights
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles.monitoringMetricsPublisher
    )
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// None on AKS: the API server takes an Entra token and asks Kubernetes RBAC, so that the Role and
// RoleBinding in the namespaces are the whole grant. Azure Kubernetes Service Cluster User would
// only let the app download a kubeconfig, which it does not use.
//
// None on PostgreSQL: its Azure roles manage servers, not rows. What the app may do there is granted
// in SQL.

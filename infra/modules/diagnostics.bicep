metadata description = 'One diagnostic setting of the app, its blobs and the topic.'

import { logGroup, metricCategory } from '../types.bicep'

@description('Required. Name of the setting.')
param name string

@description('Optional. Resource id of a Log Analytics workspace.')
param workspaceResourceId string?

@description('Optional. Resource id of a storage account.')
param storageAccountResourceId string?

@description('Optional. Resource id of an authorisation rule of an Event Hubs namespace.')
param eventHubAuthorizationRuleResourceId string?

@description('Optional. Name of the event hub.')
param eventHubName string?

@description('Required. Groups of logs.')
param logs logGroup[]

@description('Required. Categories of metrics.')
param metrics metricCategory[]

@description('Required. Name of the host\'s storage account.')
param storageAccountName string

@description('Required. Name of the topic that announces rotations.')
param topicName string

@description('Required. Name of the function app.')
param appName string

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: account
  name: 'default'
}

resource topic 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: topicName
}

resource site 'Microsoft.Web/sites@2025-03-01' existing = {
  name: appName
}

resource blobSetting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: name
  scope: blobs
  properties: {
    workspaceId: workspaceResourceId
    storageAccountId: storageAccountResourceId
    eventHubAuthorizationRuleId: eventHubAuthorizationRuleResourceId
    eventHubName: eventHubName
    logs: map(logs, group => { categoryGroup: group.categoryGroup, enabled: true })
    metrics: map(metrics, metric => { category: metric.category, enabled: true })
  }
}

resource topicSetting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: name
  scope: topic
  properties: {
    workspaceId: workspaceResourceId
    storageAccountId: storageAccountResourceId
    eventHubAuthorizationRuleId: eventHubAuthorizationRuleResourceId
    eventHubName: eventHubName
    logs: map(logs, group => { categoryGroup: group.categoryGroup, enabled: true })
    metrics: map(metrics, metric => { category: metric.category, enabled: true })
  }
}

resource appSetting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: name
  scope: site
  properties: {
    workspaceId: workspaceResourceId
    storageAccountId: storageAccountResourceId
    eventHubAuthorizationRuleId: eventHubAuthorizationRuleResourceId
    eventHubName: eventHubName
    logs: map(logs, group => { categoryGroup: group.categoryGroup, enabled: true })
    metrics: map(metrics, metric => { category: metric.category, enabled: true })
  }
}

metadata description = 'Locks and diagnostic settings, as in Azure Verified Modules, of what holds state or takes requests.'

import { diagnosticSetting, lock as lockType } from '../types.bicep'

@description('Optional. Lock of the storage account, the scheduler, the workspace and the topic.')
param lock lockType?

@description('Required. Where their logs and metrics go besides.')
param diagnosticSettings diagnosticSetting[]

@description('Required. Name of the host\'s storage account.')
param storageAccountName string

@description('Required. Name of the Durable Task Scheduler; empty when Azure Storage keeps the orchestrations.')
param schedulerName string

@description('Required. Name of the topic that announces rotations.')
param topicName string

@description('Required. Name of the Log Analytics workspace.')
param workspaceName string

@description('Required. Name of the function app.')
param appName string

var onScheduler = !empty(schedulerName)
var kind = lock.?kind ?? 'None'
var notes = lock.?notes ?? 'Holds the state of rotations: see Uninstall in docs/deploy.md.'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' existing = if (onScheduler) {
  name: onScheduler ? schedulerName : 'none'
}

resource topic 'Microsoft.EventGrid/topics@2025-02-15' existing = {
  name: topicName
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource accountLock 'Microsoft.Authorization/locks@2020-05-01' = if (kind != 'None') {
  name: lock.?name ?? 'lock-${storageAccountName}'
  scope: account
  properties: {
    level: kind
    notes: notes
  }
}

resource schedulerLock 'Microsoft.Authorization/locks@2020-05-01' = if (kind != 'None' && onScheduler) {
  name: lock.?name ?? 'lock-${schedulerName}'
  scope: scheduler
  properties: {
    level: kind
    notes: notes
  }
}

resource topicLock 'Microsoft.Authorization/locks@2020-05-01' = if (kind != 'None') {
  name: lock.?name ?? 'lock-${topicName}'
  scope: topic
  properties: {
    level: kind
    notes: notes
  }
}

resource workspaceLock 'Microsoft.Authorization/locks@2020-05-01' = if (kind != 'None') {
  name: lock.?name ?? 'lock-${workspaceName}'
  scope: workspace
  properties: {
    level: kind
    notes: notes
  }
}

module diagnostics 'diagnostics.bicep' = [
  for (setting, index) in diagnosticSettings: {
    name: 'diagnostics-${index}-${uniqueString(appName)}'
    params: {
      name: setting.?name ?? 'rotation'
      workspaceResourceId: setting.?workspaceResourceId
      storageAccountResourceId: setting.?storageAccountResourceId
      eventHubAuthorizationRuleResourceId: setting.?eventHubAuthorizationRuleResourceId
      eventHubName: setting.?eventHubName
      logs: setting.?logCategoriesAndGroups ?? [{ categoryGroup: 'allLogs' }]
      metrics: setting.?metricCategories ?? [{ category: 'AllMetrics' }]
      storageAccountName: storageAccountName
      topicName: topicName
      appName: appName
    }
  }
]

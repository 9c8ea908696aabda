metadata description = 'Log Analytics workspace and Application Insights. Ingestion needs an Entra token.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the resources.')
param suffix string

@description('Required. Days that logs are kept.')
@minValue(30)
@maxValue(730)
param retentionDays int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: 'log-rotation-${suffix}'
  location: location
  tags: tags
  properties: {
    retentionInDays: retentionDays
    sku: {
      name: 'PerGB2018'
    }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-rotation-${suffix}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    WorkspaceResourceId: workspace.id
  }
}

@description('Resource id of Application Insights.')
output id string = insights.id

@description('Name of the workspace.')
output workspaceName string = workspace.name

@description('Name of Application Insights.')
output name string = insights.name

@description('Where telemetry goes. An address, not a key: ingestion needs an Entra token.')
output connectionString string = insights.properties.ConnectionString

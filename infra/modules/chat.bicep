metadata description = 'A workflow that posts a card about each rotation to a channel. Its one button opens the page: nothing can be decided in the channel.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the resources.')
param suffix string

@description('Required. What the card is made for.')
@allowed(['teams', 'slack'])
param kind string

@description('Required. Address of the app.')
param appUrl string

@description('Required. Resource id of the action group for alerts.')
param actionGroupId string

@description('Required. Address that takes the cards: whoever has it can post to the channel. Logic Apps could not read it from a closed vault: they are not among those that Key Vault trusts.')
@secure()
param webhook string

resource workflow 'Microsoft.Logic/workflows@2019-05-01' = {
  name: 'logic-rotation-${kind}-${suffix}'
  location: location
  tags: tags
  properties: {
    state: 'Enabled'
    definition: kind == 'teams' ? loadJsonContent('../logic/teams.json') : loadJsonContent('../logic/slack.json')
    parameters: {
      appUrl: {
        value: appUrl
      }
      webhook: {
        value: webhook
      }
    }
  }
}

// Event Grid has handed the event over by then: a card that is lost is no dead letter.
resource failed 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'rotation-card-lost-${kind}-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'A card about a rotation could not be posted, whatever was tried. See docs/operations.md.'
    enabled: true
    severity: 2
    scopes: [workflow.id]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'runs'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.Logic/workflows'
          metricName: 'RunsFailed'
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

@description('Name of the workflow.')
output name string = workflow.name

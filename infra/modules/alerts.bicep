metadata description = 'What a person must hear of: read from the events that the app logs, one JSON object a line.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the resources.')
param suffix string

@description('Required. Resource id of Application Insights.')
param insightsId string

@description('Required. Resource id of the topic that announces rotations.')
param topicId string

@description('Required. Days before the expiry of a live secret at which somebody is told.')
param expiryAlertDays int

@description('Required. Mail addresses that alerts go to.')
param recipients string[]

var logged = 'traces | extend entry = parse_json(message) | extend event = tostring(entry.event), outcome = tostring(entry.outcome), credential = tostring(entry.credential), rotation = tostring(entry.rotation)'

var rules = [
  {
    name: 'rotation-needs-attention'
    title: 'A rotation needs attention'
    text: 'A rotation stopped where only a person can decide. Both slots are kept. See docs/operations.md.'
    severity: 1
    silence: false
    window: 'PT15M'
    query: '${logged} | where event == "rotation.finished" and outcome in ("needs-attention") | project timestamp, credential, rotation'
  }
  {
    name: 'rotation-failed'
    title: 'A rotation failed'
    text: 'A rotation was aborted or rolled back. The credential in use did not change. See docs/operations.md.'
    severity: 2
    silence: false
    window: 'PT15M'
    query: '${logged} | where event == "rotation.finished" and outcome in ("rolled-back", "aborted", "refused") | project timestamp, credential, rotation'
  }
  {
    name: 'approval-overdue'
    title: 'An approval is overdue'
    text: 'Nobody decided before the deadline. Both slots are kept unless the policy says otherwise. See docs/operations.md.'
    severity: 2
    silence: false
    window: 'PT15M'
    query: '${logged} | where event == "approval.overdue" | project timestamp, credential, rotation'
  }
  {
    name: 'live-secret-expiring'
    title: 'A live secret expires soon'
    text: 'The secret of a slot that serves expires within ${expiryAlertDays} days and was not rotated, whatever the reason. See docs/operations.md.'
    severity: 1
    silence: false
    // The sweep says so once a day.
    window: 'P1D'
    query: '${logged} | where event == "secret.expires" and todouble(entry.days) < ${expiryAlertDays} | project timestamp, credential, rotation'
  }
  {
    name: 'event-not-taken'
    title: 'An event was not taken, or a secret not seen'
    text: 'An event of Key Vault was not understood, or the daily sweep could not look at a secret that serves. See docs/operations.md.'
    severity: 2
    silence: false
    window: 'PT15M'
    query: '${logged} | where event in ("event.ignored", "event.failed", "secret.unseen") | project timestamp, credential, rotation'
  }
  {
    name: 'rotation-silent'
    title: 'The app does not look for expiring secrets'
    text: 'No sweep in two days: the app does not run, or does not log. Fires once after the first deployment, until the first sweep. See docs/operations.md.'
    severity: 2
    silence: true
    window: 'P2D'
    query: '${logged} | where event == "sweep.done" | project timestamp'
  }
]

var byRotation = [
  {
    name: 'credential'
    operator: 'Include'
    values: ['*']
  }
  {
    name: 'rotation'
    operator: 'Include'
    values: ['*']
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-rotation-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'rotation'
    emailReceivers: [
      for address in recipients: {
        name: address
        emailAddress: address
        useCommonAlertSchema: true
      }
    ]
  }
}

resource logAlert 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for rule in rules: {
    name: '${rule.name}-${suffix}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: rule.title
      description: rule.text
      enabled: true
      severity: rule.severity
      scopes: [insightsId]
      // The window is wider than the frequency: telemetry can be minutes late.
      evaluationFrequency: rule.window == 'PT15M' ? 'PT5M' : 'PT1H'
      windowSize: rule.window
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: rule.query
            timeAggregation: 'Count'
            operator: rule.silence ? 'LessThan' : 'GreaterThan'
            threshold: rule.silence ? 1 : 0
            dimensions: rule.silence ? [] : byRotation
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: [people.id]
      }
    }
  }
]

// An announcement that nobody took within a day.
resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'rotation-announcement-lost-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'An announcement of a rotation could not be delivered: a mail may be missing. See docs/operations.md.'
    enabled: true
    severity: 2
    scopes: [topicId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'dead-letters'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.EventGrid/topics'
          metricName: 'DeadLetteredCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
  }
}

@description('Resource id of the action group.')
output actionGroupId string = people.id

// Events of two vaults, one with a system topic that was there before, and the workflows for mail, Teams and Slack.
using '../../../infra/events.bicep'

param tags = {
  owner: 'platform'
}

param functionAppName = 'func-rotation-prod-abcdef'

param storageAccountName = 'strotationabcdef'

param deadLettersContainer = 'dead-letters'

param actionGroupId = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-rotation/providers/Microsoft.Insights/actionGroups/ag-rotation-prod-abcdef'

param topicName = 'evgt-rotation-prod-abcdef'

param mailWorkflowName = 'logic-rotation-prod-abcdef'

param teamsWorkflowName = 'logic-rotation-teams-prod-abcdef'

param slackWorkflowName = 'logic-rotation-slack-prod-abcdef'

param vaultIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-shop/providers/Microsoft.KeyVault/vaults/kv-shop'
]

param vaultTopics = [
  ''
  'evgt-shop'
]

param vaultLocations = [
  'westeurope'
  'northeurope'
]

// Approval by mail and cards in Teams and Slack, with Entra sign-in and another program that calls the API.
using '../../../infra/main.bicep'

param environmentName = 'prod'

param alertRecipients = [
  'oncall@example.com'
]

param vaults = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
    location: 'westeurope'
    rotated: [
      'orders-db-blue'
      'orders-db-green'
    ]
  }
]

param decisionKey = {
  vaultId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  name: 'rotation-decision-key'
}

param teamsWebhook = {
  vaultId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  name: 'rotation-teams-webhook'
}

param slackWebhook = {
  vaultId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  name: 'rotation-slack-webhook'
}

param signIn = {
  clientId: '22222222-2222-2222-2222-222222222222'
  callers: [
    '33333333-3333-3333-3333-333333333333'
  ]
}

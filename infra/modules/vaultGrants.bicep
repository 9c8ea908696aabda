metadata description = 'Roles on single secrets of one Key Vault, deployed to the vault\'s resource group.'

@description('Required. Name of the vault. It must use Azure RBAC.')
param vaultName string

@description('Required. Object id of the identity that gets the roles.')
param principalId string

@description('Required. Secrets that it rotates.')
param rotated string[]

@description('Required. Secrets that it only reads.')
param read string[]

@description('Required. Define a role with just the rights that a rotation uses. Without it the built-in Key Vault Secrets Officer is granted, which can also delete, back up, recover and purge.')
param leastRole bool

var roles = loadJsonContent('../roles.json')

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource rotatedSecret 'Microsoft.KeyVault/vaults/secrets@2024-11-01' existing = [
  for name in rotated: {
    parent: vault
    name: name
  }
]

resource readSecret 'Microsoft.KeyVault/vaults/secrets@2024-11-01' existing = [
  for name in read: {
    parent: vault
    name: name
  }
]

// What a rotation does to a slot's secret, and no more: set a new version, list the versions, read
// the one in use, disable the one that is retired. No built-in role stops short of deleting. One for
// each vault: two deployments that write the same definition at once would get in each other's way.
resource rotator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (leastRole && !empty(rotated)) {
  name: guid(vault.id, 'credential-rotation-secrets')
  properties: {
    roleName: 'Credential rotation secrets of ${vaultName}'
    description: 'Set, read, list and update versions of secrets. Neither delete nor purge.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/secrets/getSecret/action'
          'Microsoft.KeyVault/vaults/secrets/readMetadata/action'
          'Microsoft.KeyVault/vaults/secrets/setSecret/action'
          'Microsoft.KeyVault/vaults/secrets/update/action'
        ]
        notDataActions: []
      }
    ]
  }
}

var rotatorId = leastRole ? guid(vault.id, 'credential-rotation-secrets') : roles.keyVaultSecretsOfficer

// On each slot's secret rather than on the vault: the app cannot even list the vault's other secrets.
resource rotate 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in rotated: {
    name: guid(rotatedSecret[index].id, principalId, rotatorId)
    scope: rotatedSecret[index]
    dependsOn: [rotator]
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', rotatorId)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

// Passwords and keys that are read and never written: of a database login, of approval links.
resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, index) in read: {
    name: guid(readSecret[index].id, principalId, roles.keyVaultSecretsUser)
    scope: readSecret[index]
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.keyVaultSecretsUser)
      principalId: principalId
      principalType: 'ServicePrincipal'
    }
  }
]

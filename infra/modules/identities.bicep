metadata description = 'One identity per duty, so that none has the rights of another.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the identities.')
param suffix string

@description('Required. Whether the workflow that sends mail is deployed.')
param mail bool

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-rotation-${suffix}'
  location: location
  tags: tags
}

// A workflow's own (system-assigned) identity would do, but its client id, which the sign-in must
// allow, cannot be known while it is deployed.
resource workflow 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (mail) {
  name: 'id-rotation-mail-${suffix}'
  location: location
  tags: tags
}

@description('Identity of the app.')
output appId string = app.id

@description('Its name: the database role that signs in with an Entra token is called so.')
output appName string = app.name

@description('Its client id.')
output appClientId string = app.properties.clientId

@description('Its object id: what a Kubernetes RoleBinding names as the user.')
output appPrincipalId string = app.properties.principalId

@description('Identity of the mail workflow; empty without one.')
output workflowId string = mail ? workflow.id : ''

@description('Its client id; empty without one.')
output workflowClientId string = mail ? workflow!.properties.clientId : ''

@description('Its object id; empty without one.')
output workflowPrincipalId string = mail ? workflow!.properties.principalId : ''

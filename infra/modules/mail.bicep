metadata description = 'The workflow that asks approvers by mail, and its connection to Office 365.'

import { texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the resources.')
param suffix string

@description('Required. Resource id of the workflow\'s identity.')
param identityId string

@description('Required. Address of the app.')
param appUrl string

@description('Required. Token audience of the app; empty without Entra sign-in.')
param audience string

@description('Required. Who gets mail about credentials whose approvers have no address.')
param fallbackRecipients string[]

@description('Required. The function key for decisions. Logic Apps could not read it from a closed vault: they are not among those that Key Vault trusts.')
@secure()
param decisionKey string

var connectionName = 'office365-rotation-${suffix}'
var officeApi = subscriptionResourceId('Microsoft.Web/locations/managedApis', location, 'office365')

// Deployed without consent: somebody signs in to it once, in the portal, with the mailbox that sends.
resource office 'Microsoft.Web/connections@2016-06-01' = {
  name: connectionName
  location: location
  tags: tags
  properties: {
    displayName: 'Mail of credential rotations'
    api: {
      id: officeApi
    }
  }
}

resource workflow 'Microsoft.Logic/workflows@2019-05-01' = {
  name: 'logic-rotation-${suffix}'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    state: 'Enabled'
    definition: loadJsonContent('../logic/approval.json')
    parameters: {
      '$connections': {
        value: {
          office365: {
            id: officeApi
            connectionId: office.id
            connectionName: connectionName
          }
        }
      }
      appUrl: {
        value: appUrl
      }
      audience: {
        value: audience
      }
      decisionKey: {
        value: decisionKey
      }
      fallbackRecipients: {
        value: fallbackRecipients
      }
      identity: {
        value: identityId
      }
    }
  }
}

@description('Name of the workflow.')
output name string = workflow.name

@description('Name of the connection that needs consent.')
output connectionName string = office.name

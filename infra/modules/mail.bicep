metadata description = 'The workflow that asks approvers by mail, and its connection to Office 365.'

import { texts } from '../types.bicep'

@description('Region.')
param location string

@description('Tags of every resource.')
param tags texts

@description('Ends the names of the resources.')
param suffix string

@description('Resource id of the workflow\'s identity.')
param identityId string

@description('Address of the app.')
param appUrl string

@description('Token audience of the app; empty without Entra sign-in.')
param audience string

@description('Who gets mail about credentials whose approvers have no address.')
param fallbackRecipients string[]

@description('URL of the secret that holds the function key for decisions. The workflow reads it when it needs it.')
param decisionKeyUrl string

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
      decisionKeyUrl: {
        value: decisionKeyUrl
      }
      fallbackRecipients: {
        value: fallbackRecipients
      }
      identity: {
        value: identityId
      }
      vaultAudience: {
        value: 'https://${substring(environment().suffixes.keyvaultDns, 1)}'
      }
    }
  }
}

@description('Name of the workflow.')
output name string = workflow.name

@description('Name of the connection that needs consent.')
output connectionName string = office.name

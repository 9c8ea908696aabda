metadata description = 'A virtual network for the app, with a fixed outgoing address.'

import { network as networkType, texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the resources.')
param suffix string

@description('Required. Address ranges.')
param network networkType

// Subnets have no outgoing access of their own: telemetry and events leave through this address,
// which firewalls (of an AKS API server, for example) can allow.
resource address 'Microsoft.Network/publicIPAddresses@2025-01-01' = {
  name: 'pip-rotation-${suffix}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2025-05-01' = {
  name: 'ng-rotation-${suffix}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: address.id
      }
    ]
  }
}

resource appRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-rotation-app-${suffix}'
  location: location
  tags: tags
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-05-01' = {
  name: 'nsg-rotation-endpoints-${suffix}'
  location: location
  tags: tags
}

resource virtualNetwork 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: 'vnet-rotation-${suffix}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [network.addresses]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: network.app
          defaultOutboundAccess: false
          natGateway: {
            id: gateway.id
          }
          networkSecurityGroup: {
            id: appRules.id
          }
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: network.endpoints
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: endpointRules.id
          }
        }
      }
    ]
  }
}

@description('Resource id of the network.')
output id string = virtualNetwork.id

@description('Subnet of the app.')
output appSubnetId string = '${virtualNetwork.id}/subnets/app'

@description('Subnet of private endpoints.')
output endpointsSubnetId string = '${virtualNetwork.id}/subnets/endpoints'

@description('Address that the app\'s outgoing traffic comes from.')
output outgoingAddress string = address.properties.ipAddress

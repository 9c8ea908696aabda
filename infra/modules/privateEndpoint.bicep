metadata description = 'A private endpoint to one service, registered in its DNS zone.'

import { texts } from '../types.bicep'

@description('Region of the network.')
param location string

@description('Tags of every resource.')
param tags texts

@description('Name of the endpoint.')
param name string

@description('Subnet of private endpoints.')
param subnetId string

@description('Resource id of the service.')
param serviceId string

@description('Which part of the service, for example blob or vault.')
param part string

@description('Resource id of the DNS zone.')
param zoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: name
        properties: {
          privateLinkServiceId: serviceId
          groupIds: [part]
        }
      }
    ]
  }
}

resource registration 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: 'zone'
        properties: {
          privateDnsZoneId: zoneId
        }
      }
    ]
  }
}

@description('Resource id of the endpoint.')
output id string = endpoint.id

metadata description = 'A private endpoint to one service, registered in its DNS zone where the service does that.'

import { texts } from '../types.bicep'

@description('Required. Region of the network.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Name of the endpoint.')
param name string

@description('Required. Subnet of private endpoints.')
param subnetId string

@description('Required. Resource id of the service.')
param serviceId string

@description('Required. Which part of the service, for example blob or vault.')
param part string

@description('Required. The owner of the service accepts the connection by hand. Without it whoever deploys must be allowed to.')
param ownerApproves bool

@description('Required. Resource id of the DNS zone; empty for a service that registers no name.')
param zoneId string

var connection = {
  name: name
  properties: {
    privateLinkServiceId: serviceId
    groupIds: [part]
    requestMessage: 'Rotation of database credentials: see docs/deploy.md, Private networks.'
  }
}

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: ownerApproves ? [] : [connection]
    manualPrivateLinkServiceConnections: ownerApproves ? [connection] : []
  }
}

resource registration 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = if (!empty(zoneId)) {
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

@description('Resource id of its network interface.')
output interfaceId string = endpoint.properties.networkInterfaces[0].id

metadata description = 'A private DNS zone, linked to the app\'s network.'

import { texts } from '../types.bicep'

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Name of the zone.')
param name string

@description('Required. Network that resolves it.')
param networkId string

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: name
  location: 'global'
  tags: tags
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: 'rotation'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    // A name that the zone does not have is asked of the public DNS: the zone would hide each service
    // of its kind that has no private endpoint here.
    resolutionPolicy: 'NxDomainRedirect'
    virtualNetwork: {
      id: networkId
    }
  }
}

@description('Resource id of the zone.')
output id string = zone.id

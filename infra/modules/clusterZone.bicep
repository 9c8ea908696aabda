metadata description = 'The DNS zone of one private API server, with the address of our endpoint to it. AKS registers nothing by itself.'

import { texts } from '../types.bicep'

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Private name of the API server: the first label is the record, the rest is the zone.')
param host string

@description('Required. Resource id of the network interface of the endpoint to it.')
param interfaceId string

@description('Required. Network that resolves it.')
param networkId string

resource interface 'Microsoft.Network/networkInterfaces@2025-05-01' existing = {
  name: last(split(interfaceId, '/'))
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: substring(host, indexOf(host, '.') + 1)
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
    virtualNetwork: {
      id: networkId
    }
  }
}

resource record 'Microsoft.Network/privateDnsZones/A@2024-06-01' = {
  parent: zone
  name: split(host, '.')[0]
  properties: {
    ttl: 300
    aRecords: [
      {
        ipv4Address: interface.properties.ipConfigurations[0].properties.privateIPAddress
      }
    ]
  }
}

metadata description = 'Private endpoints from the app\'s network to everything that the app talks to and that takes one.'

import { cluster, database, vault, texts } from '../types.bicep'

@description('Required. Region of the network.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Ends the names of the resources.')
param suffix string

@description('Required. Resource id of the network.')
param networkId string

@description('Required. Its subnet for private endpoints.')
param subnetId string

@description('Required. Resource id of the host\'s storage account.')
param storageAccountId string

@description('Required. Resource id of the Durable Task Scheduler; empty when Azure Storage keeps the orchestrations.')
param schedulerId string

@description('Required. Vaults; only those that are marked private get an endpoint.')
param vaults vault[]

@description('Required. PostgreSQL servers; likewise.')
param databases database[]

@description('Required. Clusters; likewise.')
param clusters cluster[]

var clouds = loadJsonContent('../clouds.json')
// Of a private vault the part before the domain has another name.
var vaultDomain = replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')
var databaseDomain = clouds[environment().name].postgresql

var privateVaults = filter(vaults, item => item.?private ?? false)
var privateDatabases = filter(databases, item => item.?private ?? false)
var privateClusters = filter(clusters, item => item.?private ?? false)

module storageZone 'dnsZone.bicep' = [
  for part in ['blob', 'queue', 'table']: {
    name: 'zone-${part}-${suffix}'
    params: {
      tags: tags
      name: 'privatelink.${part}.${environment().suffixes.storage}'
      networkId: networkId
    }
  }
]

module privateStorage 'privateEndpoint.bicep' = [
  for (part, index) in ['blob', 'queue', 'table']: {
    name: 'endpoint-${part}-${suffix}'
    params: {
      location: location
      tags: tags
      name: 'pep-${part}-${suffix}'
      subnetId: subnetId
      serviceId: storageAccountId
      part: part
      ownerApproves: false
      zoneId: storageZone[index].outputs.id
    }
  }
]

module schedulerZone 'dnsZone.bicep' = if (!empty(schedulerId)) {
  name: 'zone-scheduler-${suffix}'
  params: {
    tags: tags
    name: 'privatelink.durabletask.io'
    networkId: networkId
  }
}

module privateScheduler 'privateEndpoint.bicep' = if (!empty(schedulerId)) {
  name: 'endpoint-scheduler-${suffix}'
  params: {
    location: location
    tags: tags
    name: 'pep-scheduler-${suffix}'
    subnetId: subnetId
    serviceId: schedulerId
    part: 'scheduler'
    ownerApproves: false
    zoneId: schedulerZone!.outputs.id
  }
}

module vaultZone 'dnsZone.bicep' = if (!empty(privateVaults)) {
  name: 'zone-vault-${suffix}'
  params: {
    tags: tags
    name: 'privatelink${vaultDomain}'
    networkId: networkId
  }
}

module privateVault 'privateEndpoint.bicep' = [
  for item in privateVaults: {
    name: 'endpoint-vault-${uniqueString(item.id, suffix)}'
    params: {
      location: location
      tags: tags
      name: 'pep-vault-${take(last(split(item.id, '/')), 20)}-${take(uniqueString(item.id), 6)}-${suffix}'
      subnetId: subnetId
      serviceId: item.id
      part: 'vault'
      ownerApproves: item.?ownerApproves ?? false
      zoneId: vaultZone!.outputs.id
    }
  }
]

module databaseZone 'dnsZone.bicep' = if (!empty(privateDatabases)) {
  name: 'zone-database-${suffix}'
  params: {
    tags: tags
    name: 'privatelink.${databaseDomain}'
    networkId: networkId
  }
}

module privateDatabase 'privateEndpoint.bicep' = [
  for item in privateDatabases: {
    name: 'endpoint-database-${uniqueString(item.id, suffix)}'
    params: {
      location: location
      tags: tags
      name: 'pep-database-${take(last(split(item.id, '/')), 20)}-${take(uniqueString(item.id), 6)}-${suffix}'
      subnetId: subnetId
      serviceId: item.id
      part: 'postgresqlServer'
      ownerApproves: item.?ownerApproves ?? false
      zoneId: databaseZone!.outputs.id
    }
  }
]

module clusterAddress 'clusterAddress.bicep' = [
  for item in privateClusters: {
    name: 'cluster-address-${uniqueString(item.id, suffix)}'
    scope: resourceGroup(split(item.id, '/')[2], split(item.id, '/')[4])
    params: {
      name: last(split(item.id, '/'))
    }
  }
]

module privateCluster 'privateEndpoint.bicep' = [
  for item in privateClusters: {
    name: 'endpoint-cluster-${uniqueString(item.id, suffix)}'
    params: {
      location: location
      tags: tags
      name: 'pep-cluster-${take(last(split(item.id, '/')), 20)}-${take(uniqueString(item.id), 6)}-${suffix}'
      subnetId: subnetId
      serviceId: item.id
      part: 'management'
      ownerApproves: item.?ownerApproves ?? false
      zoneId: ''
    }
  }
]

// One after the other: clusters with a zone of their owner's share one name.
@batchSize(1)
module clusterZone 'clusterZone.bicep' = [
  for (item, index) in privateClusters: {
    name: 'zone-cluster-${uniqueString(item.id, suffix)}'
    params: {
      tags: tags
      host: clusterAddress[index].outputs.host
      interfaceId: privateCluster[index].outputs.interfaceId
      networkId: networkId
    }
  }
]

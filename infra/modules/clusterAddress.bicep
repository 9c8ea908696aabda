metadata description = 'Reads the private name of a cluster\'s API server, in the cluster\'s resource group.'

@description('Required. Name of the cluster.')
param name string

resource cluster 'Microsoft.ContainerService/managedClusters@2025-05-01' existing = {
  name: name
}

@description('Private name of its API server, for example prod-1a2b3c4d.<guid>.privatelink.westeurope.azmk8s.io.')
output host string = cluster.properties.?privateFQDN ?? fail('cluster ${name} has no private API server: leave `private` out')

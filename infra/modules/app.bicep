metadata description = 'The function app on Flex Consumption.'

import { signIn as signInType, texts } from '../types.bicep'

@description('Required. Region.')
param location string

@description('Required. Tags of every resource.')
param tags texts

@description('Required. Name of the app, part of its host name.')
param name string

@description('Required. Python version of the app.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string

@description('Required. Memory of one instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int

@description('Required. Resource id of the app\'s identity.')
param identityId string

@description('Required. Client id of the app\'s identity.')
param identityClientId string

@description('Required. Blob endpoint of the host\'s storage account, with a slash at the end.')
param blobEndpoint string

@description('Required. Its queue endpoint.')
param queueEndpoint string

@description('Required. Its table endpoint.')
param tableEndpoint string

@description('Required. Container for the deployed package.')
param packagesContainer string

@description('Required. Connection string of Application Insights (no key in it is accepted there).')
param insightsConnectionString string

@description('Required. Which store keeps the orchestrations.')
@allowed(['durableTaskScheduler', 'azureStorage'])
param durableBackend string

@description('Required. Endpoint of the Durable Task Scheduler; empty with azureStorage.')
param schedulerEndpoint string

@description('Required. Name of the task hub.')
param taskHub string

@description('Required. Where rotations are announced.')
param topicEndpoint string

@description('Required. When the sweep runs: six fields, UTC.')
param sweepSchedule string

@description('Required. When each credential is looked at: six fields, UTC.')
param sampleSchedule string

@description('Required. URL of the secret whose value signs approval links; empty for none.')
param linkKeyUrl string

@description('Optional. Entra sign-in; null leaves people to signed links.')
param signIn signInType?

@description('Required. Client id of the mail workflow\'s identity, which may call the API; empty for none.')
param workflowClientId string

@description('Required. Subnet for outgoing traffic; empty for none.')
param subnetId string

@description('Required. Start no rotation from events and the sweep.')
param paused bool

@description('Required. Further app settings, for example ROTATION_CA_BUNDLE.')
param extraSettings texts

var onScheduler = durableBackend == 'durableTaskScheduler'

// With an identity and no key: the host reads each setting below the name of the connection.
var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: blobEndpoint
  AzureWebJobsStorage__queueServiceUri: queueEndpoint
  AzureWebJobsStorage__tableServiceUri: tableEndpoint
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AZURE_CLIENT_ID: identityClientId
  TASKHUB_NAME: taskHub
  // Steps, orchestrators and timers run in threads of one process: as many as host.json admits at once.
  PYTHON_THREADPOOL_THREAD_COUNT: '32'
}

// Every alert reads the app's log lines, which the host exports. Its exporter keeps five traces a second
// unless told otherwise, and drops the lines of all others; and those of a call that says of itself, by the
// flags of its traceparent, that it is not sampled.
var telemetrySettings = {
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: '1.0'
  AzureMonitorExporter__EnableTraceBasedLogsSampler: 'false'
  // The exporters would report on themselves to Microsoft, and take orders from there.
  APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
  APPLICATIONINSIGHTS_SDKSTATS_DISABLED: 'true'
  APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED: 'true'
}

// host.json names the back end: the scale controller reads that file and no setting that overrides it.
// If the two disagree, the host finds no connection or no grant, and says so when it starts.
var schedulerSettings = {
  DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${schedulerEndpoint};Authentication=ManagedIdentity;ClientID=${identityClientId}'
}

var rotationSettings = {
  ROTATION_CLOUD: environment().name
  ROTATION_SWEEP_SCHEDULE: sweepSchedule
  ROTATION_SAMPLE_SCHEDULE: sampleSchedule
  ROTATION_TOPIC_ENDPOINT: topicEndpoint
  ROTATION_SIGN_IN: signIn == null ? 'links' : 'entra'
}
var linkSettings = empty(linkKeyUrl) ? {} : { ROTATION_LINK_KEY: linkKeyUrl }

// The first name is Azure Functions' own: events wait at Event Grid. The sweep goes on looking, since an
// alert reads what it says of secrets that expire, and starts nothing.
var pauseSettings = {
  'AzureWebJobs.on_secret_event.Disabled': 'true'
  ROTATION_PAUSED: 'true'
}

// The identity stands in for a client secret of the app registration (a federated credential there).
var signInSettings = signIn == null ? {} : { OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId }

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'rotation' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobEndpoint}${packagesContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        // Azure Storage is polled by an instance that runs; the scheduler wakes one up.
        alwaysReady: onScheduler ? [] : [{ name: 'durable', instanceCount: 1 }]
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: 40
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'appsettings'
  properties: union(
    hostSettings,
    telemetrySettings,
    onScheduler ? schedulerSettings : {},
    rotationSettings,
    linkSettings,
    signInSettings,
    paused ? pauseSettings : {},
    extraSettings
  )
}

// Deployment goes through Entra: no publishing user and password.
resource basicFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource basicScm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

resource auth 'Microsoft.Web/sites/config@2025-03-01' = if (signIn != null) {
  parent: site
  name: 'authsettingsV2'
  dependsOn: [settings]
  properties: {
    platform: {
      enabled: true
      runtimeVersion: '~1'
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      // Event Grid authenticates with a key of its own; a probe has no identity. No wildcard: the
      // durable API, which can read and end every rotation, lies below /runtime/webhooks too. Event
      // Grid has written its path both ways.
      excludedPaths: ['/runtime/webhooks/eventgrid', '/runtime/webhooks/EventGrid', '/api/health']
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: signIn!.clientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [signIn!.clientId, 'api://${signIn!.clientId}']
          defaultAuthorizationPolicy: {
            allowedApplications: union(
              [signIn!.clientId],
              signIn!.?callers ?? [],
              empty(workflowClientId) ? [] : [workflowClientId]
            )
          }
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

@description('Resource id of the app.')
output id string = site.id

@description('Name of the app.')
output name string = site.name

@description('Address of the app.')
output url string = 'https://${site.properties.defaultHostName}'

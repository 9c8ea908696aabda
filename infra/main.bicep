metadata name = 'Credential rotation'
metadata description = 'Everything that the app needs in Azure, except the subscriptions to events: see events.bicep.'

import { cluster, database, diagnosticSetting, secret, texts, vault } from 'types.bicep'
import { lock as lockType, network as networkType, signIn as signInType } from 'types.bicep'

targetScope = 'resourceGroup'

@description('Required. Name of this environment. Its letters, digits and hyphens, in lower case and twelve at most, are part of the names of resources.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Optional. Region, as `westeurope` or `West Europe`.')
param location string = resourceGroup().location

@description('Optional. Tags of every resource.')
param tags texts = {}

@description('Required. Key Vaults whose secrets are rotated or read. They must use Azure RBAC, and the secrets must exist.')
@minLength(1)
param vaults vault[]

@description('Optional. AKS clusters that workloads run in.')
param clusters cluster[] = []

@description('Optional. PostgreSQL servers on which credentials are rotated.')
param databases database[] = []

@description('Optional. Define a custom role with just the rights on secrets that a rotation uses. Where custom roles are not allowed, false grants Key Vault Secrets Officer on the same secrets.')
param leastSecretsRole bool = true

@description('Optional. Which store keeps the orchestrations. For azureStorage also copy infra/host/azureStorage.json to host.json.')
@allowed(['durableTaskScheduler', 'azureStorage'])
param durableBackend string = 'durableTaskScheduler'

@description('Optional. Kind of Durable Task Scheduler. Both forget finished rotations after 30 days.')
@allowed(['Consumption', 'Dedicated'])
param schedulerSku string = 'Consumption'

@description('Optional. Address ranges that may connect to the scheduler, each with an Entra token. Ignored with `network`: then only a private endpoint may.')
@minLength(1)
param schedulerAllowedAddresses string[] = ['0.0.0.0/0']

@description('Optional. Python version of the app.')
@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.13'

@description('Optional. Memory of one instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Optional. When the sweep looks for secrets whose event was lost: six fields of a cron expression, UTC.')
param sweepSchedule string = '0 0 6 * * *'

@description('Optional. When each credential is looked at, for what would stand in a rotation\'s way: six fields of a cron expression, UTC.')
param sampleSchedule string = '0 */10 * * * *'

@description('Optional. When samples are taken of who uses the logins, once a minute at most: six fields of a cron expression, UTC.')
param usageSchedule string = '20 * * * * *'

@description('Optional. Further app settings: ROTATION_CA_BUNDLE, ROTATION_DATABASE_HOSTS, ROTATION_WATCH_SECONDS, ROTATION_PUBLIC_URL, ROTATION_STORAGE, ROTATION_TOKENS.')
param extraSettings texts = {}

@description('Optional. Redundancy of the storage account: Standard_LRS where there are no zones.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_ZRS'

@description('Optional. How long the record of a finished rotation stays in the storage account, in days; 0 for ever.')
@minValue(0)
param recordDays int = 0

@description('Optional. For how many days the record of a finished rotation can be neither changed nor deleted, by anybody; 0 for no such policy. It is not locked.')
@minValue(0)
@maxValue(146000)
param recordImmutableDays int = 0

@description('Optional. Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Optional. Entra sign-in for pages and API. Without it people decide through signed links, which need `linkKey`.')
param signIn signInType?

@description('Optional. Secret whose value signs approval links.')
param linkKey secret?

@description('Optional. Secret that holds the function key for decisions, in a vault that is enabled for template deployment. With it the workflow that asks by mail is deployed.')
param decisionKey secret?

@description('Optional. Secret that holds the address of a Teams workflow that takes cards for a channel, in a vault that is enabled for template deployment. Needs `signIn` for people to get in by the card.')
param teamsWebhook secret?

@description('Optional. Secret that holds the address of an incoming webhook of Slack, in a vault that is enabled for template deployment. Needs `signIn` for people to get in by the card.')
param slackWebhook secret?

@description('Optional. A virtual network for the app. Without it everything is reached over public addresses.')
param network networkType?

@description('Optional. Start no rotation from events and the sweep. Rotations under way go on. It is a parameter, since each deployment writes all app settings anew.')
param paused bool = false

@description('Optional. Lock of what holds state: the storage account, the scheduler, the topic and the workspace.')
param lock lockType?

@description('Optional. Further destinations for logs and metrics of the app, its blobs and the topic.')
param diagnosticSettings diagnosticSetting[] = []

@description('Optional. Days before the expiry of a live secret at which an alert is raised. Fewer than `rotateBefore`, or each rotation raises one.')
@minValue(1)
@maxValue(90)
param expiryAlertDays int = 14

@description('Required. Mail addresses for alerts, and for mail about credentials whose approvers have no address.')
@minLength(1)
param alertRecipients string[]

// A host name takes no other characters. The hash is of the whole name, so that `Prod_1` is not `prod1`.
var letters = [for index in range(0, length(environmentName)): toLower(substring(environmentName, index, 1))]
var allowedLetters = filter(letters, letter => contains('abcdefghijklmnopqrstuvwxyz0123456789-', letter))
var label = take(join(allowedLetters, ''), 12)
var suffix = '${label}-${take(uniqueString(resourceGroup().id, environmentName), 6)}'
// Zones and the ids of connectors have the region in their names.
var region = toLower(replace(location, ' ', ''))
var allTags = union(tags, { 'azd-env-name': environmentName })
var onScheduler = durableBackend == 'durableTaskScheduler'
var mail = decisionKey != null
var private = network != null
var appName = 'func-rotation-${suffix}'
var vaultUrlEnd = environment().suffixes.keyvaultDns

// The scope of a module is worked out even if its condition is false: it must never be null.
var noSecret = {
  vaultId: resourceGroup().id
  name: 'none'
}
var linkSecret = linkKey ?? noSecret
var linkVault = last(split(linkSecret.vaultId, '/'))
var linkKeyUrl = linkKey == null ? '' : 'https://${linkVault}${vaultUrlEnd}/secrets/${linkSecret.name}'
var decisionSecret = decisionKey ?? noSecret
var decisionVault = last(split(decisionSecret.vaultId, '/'))
var teamsSecret = teamsWebhook ?? noSecret
var slackSecret = slackWebhook ?? noSecret

var vaultIds = [for item in vaults: item.id]
var vaultTopics = [for item in vaults: item.?systemTopic ?? '']
var vaultLocations = [for item in vaults: toLower(replace(item.location, ' ', ''))]

// Read by Azure Resource Manager, for which a closed vault opens if it is enabled for template deployment.
resource decisionKeyVault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: decisionVault
  scope: resourceGroup(split(decisionSecret.vaultId, '/')[2], split(decisionSecret.vaultId, '/')[4])
}

resource teamsVault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: last(split(teamsSecret.vaultId, '/'))
  scope: resourceGroup(split(teamsSecret.vaultId, '/')[2], split(teamsSecret.vaultId, '/')[4])
}

resource slackVault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: last(split(slackSecret.vaultId, '/'))
  scope: resourceGroup(split(slackSecret.vaultId, '/')[2], split(slackSecret.vaultId, '/')[4])
}

module identities 'modules/identities.bicep' = {
  name: 'identities-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    mail: mail
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    retentionDays: logRetentionDays
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage-${suffix}'
  params: {
    location: region
    tags: allTags
    name: take('strotation${uniqueString(resourceGroup().id, environmentName)}', 24)
    sku: storageSku
    recordDays: recordDays
    recordImmutableDays: recordImmutableDays
    private: private
  }
}

module durable 'modules/durable.bicep' = if (onScheduler) {
  name: 'durable-${suffix}'
  params: {
    location: region
    tags: allTags
    name: 'dts-rotation-${suffix}'
    sku: schedulerSku
    allowedAddresses: schedulerAllowedAddresses
    private: private
  }
}

module topic 'modules/topic.bicep' = {
  name: 'topic-${suffix}'
  params: {
    location: region
    tags: allTags
    name: 'evgt-rotation-${suffix}'
  }
}

module grants 'modules/grants.bicep' = {
  name: 'grants-${suffix}'
  params: {
    appPrincipalId: identities.outputs.appPrincipalId
    storageAccountName: storage.outputs.name
    packagesContainer: storage.outputs.packagesContainer
    appContainers: storage.outputs.appContainers
    schedulerName: onScheduler ? durable!.outputs.name : ''
    hubName: onScheduler ? durable!.outputs.hub : 'rotation'
    topicName: topic.outputs.name
    insightsName: monitoring.outputs.name
  }
}

module deadLetterGrant 'modules/deadLetterGrant.bicep' = {
  name: 'dead-letter-grant-${suffix}'
  params: {
    topicId: topic.outputs.id
    principalId: topic.outputs.principalId
    storageAccountName: storage.outputs.name
    deadLettersContainer: storage.outputs.deadLettersContainer
  }
}

module vaultGrants 'modules/vaultGrants.bicep' = [
  for item in vaults: {
    name: 'vault-grants-${uniqueString(item.id, suffix)}'
    scope: resourceGroup(split(item.id, '/')[2], split(item.id, '/')[4])
    params: {
      vaultName: last(split(item.id, '/'))
      principalId: identities.outputs.appPrincipalId
      rotated: item.rotated
      read: item.?read ?? []
      leastRole: leastSecretsRole
    }
  }
]

module linkKeyGrant 'modules/vaultGrants.bicep' = if (linkKey != null) {
  name: 'link-key-grant-${suffix}'
  scope: resourceGroup(split(linkSecret.vaultId, '/')[2], split(linkSecret.vaultId, '/')[4])
  params: {
    vaultName: linkVault
    principalId: identities.outputs.appPrincipalId
    rotated: []
    read: [linkSecret.name]
    leastRole: leastSecretsRole
  }
}

module app 'modules/app.bicep' = {
  name: 'app-${suffix}'
  // It could not start without its roles and its way to the storage account.
  dependsOn: [grants, privateAccess]
  params: {
    location: region
    tags: allTags
    name: appName
    pythonVersion: pythonVersion
    instanceMemory: instanceMemory
    identityId: identities.outputs.appId
    identityClientId: identities.outputs.appClientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    packagesContainer: storage.outputs.packagesContainer
    insightsConnectionString: monitoring.outputs.connectionString
    durableBackend: durableBackend
    schedulerEndpoint: onScheduler ? durable!.outputs.endpoint : ''
    taskHub: onScheduler ? durable!.outputs.hub : 'rotation'
    topicEndpoint: topic.outputs.endpoint
    sweepSchedule: sweepSchedule
    sampleSchedule: sampleSchedule
    usageSchedule: usageSchedule
    linkKeyUrl: linkKeyUrl
    signIn: signIn
    workflowClientId: identities.outputs.workflowClientId
    subnetId: private ? privateNetwork!.outputs.appSubnetId : ''
    paused: paused
    extraSettings: extraSettings
  }
}

module governance 'modules/governance.bicep' = {
  name: 'governance-${suffix}'
  params: {
    lock: lock
    diagnosticSettings: diagnosticSettings
    storageAccountName: storage.outputs.name
    schedulerName: onScheduler ? durable!.outputs.name : ''
    topicName: topic.outputs.name
    workspaceName: monitoring.outputs.workspaceName
    appName: app.outputs.name
  }
}

module mailWorkflow 'modules/mail.bicep' = if (mail) {
  name: 'mail-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    identityId: identities.outputs.workflowId
    appUrl: app.outputs.url
    audience: signIn == null ? '' : 'api://${signIn!.clientId}'
    decisionKey: decisionKeyVault.getSecret(decisionSecret.name)
    fallbackRecipients: alertRecipients
  }
}

module teamsWorkflow 'modules/chat.bicep' = if (teamsWebhook != null) {
  name: 'teams-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    kind: 'teams'
    appUrl: app.outputs.url
    actionGroupId: alerts.outputs.actionGroupId
    webhook: teamsVault.getSecret(teamsSecret.name)
  }
}

module slackWorkflow 'modules/chat.bicep' = if (slackWebhook != null) {
  name: 'slack-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    kind: 'slack'
    appUrl: app.outputs.url
    actionGroupId: alerts.outputs.actionGroupId
    webhook: slackVault.getSecret(slackSecret.name)
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    insightsId: monitoring.outputs.id
    topicId: topic.outputs.id
    expiryAlertDays: expiryAlertDays
    recipients: alertRecipients
  }
}

module privateNetwork 'modules/network.bicep' = if (private) {
  name: 'network-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    network: network!
  }
}

module privateAccess 'modules/privateAccess.bicep' = if (private) {
  name: 'private-access-${suffix}'
  params: {
    location: region
    tags: allTags
    suffix: suffix
    networkId: privateNetwork!.outputs.id
    subnetId: privateNetwork!.outputs.endpointsSubnetId
    storageAccountId: storage.outputs.id
    schedulerId: onScheduler ? durable!.outputs.id : ''
    vaults: vaults
    databases: databases
    clusters: clusters
  }
}

@description('Region; azd keeps it.')
output AZURE_LOCATION string = region

@description('Name of the function app.')
output FUNCTION_APP_NAME string = app.outputs.name

@description('Address of the app.')
output FUNCTION_APP_URL string = app.outputs.url

@description('Name of the app\'s identity: the database role that signs in with a token is called so.')
output APP_IDENTITY_NAME string = identities.outputs.appName

@description('Client id of the app\'s identity.')
output APP_IDENTITY_CLIENT_ID string = identities.outputs.appClientId

@description('Object id of the app\'s identity: the user in Kubernetes RoleBindings.')
output APP_IDENTITY_PRINCIPAL_ID string = identities.outputs.appPrincipalId

@description('Name of the storage account.')
output STORAGE_ACCOUNT_NAME string = storage.outputs.name

@description('Container of dead letters.')
output DEAD_LETTERS_CONTAINER string = storage.outputs.deadLettersContainer

@description('Name of the topic that announces rotations.')
output TOPIC_NAME string = topic.outputs.name

@description('Resource id of the action group for alerts.')
output ACTION_GROUP_ID string = alerts.outputs.actionGroupId

@description('Name of the workflow that sends mail; empty without one.')
output MAIL_WORKFLOW_NAME string = mail ? mailWorkflow!.outputs.name : ''

@description('Name of the connection that needs consent; empty without one.')
output MAIL_CONNECTION_NAME string = mail ? mailWorkflow!.outputs.connectionName : ''

@description('Object id of the mail workflow\'s identity, which needs the app role where assignment is required; empty without one.')
output MAIL_IDENTITY_PRINCIPAL_ID string = identities.outputs.workflowPrincipalId

@description('Name of the workflow that posts to Teams; empty without one.')
output TEAMS_WORKFLOW_NAME string = teamsWebhook == null ? '' : teamsWorkflow!.outputs.name

@description('Name of the workflow that posts to Slack; empty without one.')
output SLACK_WORKFLOW_NAME string = slackWebhook == null ? '' : slackWorkflow!.outputs.name

@description('Outgoing address of the app; empty without `network`.')
output OUTGOING_ADDRESS string = private ? privateNetwork!.outputs.outgoingAddress : ''

// Flat texts: azd keeps outputs as environment variables, which events.bicepparam reads.

@description('Resource ids of the vaults, between commas.')
output VAULT_IDS string = join(vaultIds, ',')

@description('Names of the system topics that they have already, between commas; empty between two where one is made.')
output VAULT_TOPICS string = join(vaultTopics, ',')

@description('Their regions, between commas.')
output VAULT_LOCATIONS string = join(vaultLocations, ',')

@description('Tags that were given, as JSON.')
output TAGS string = string(tags)

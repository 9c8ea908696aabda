// All of it comes from the outputs of main.bicep, which azd passes on as variables.
using 'events.bicep'

param tags = json(readEnvironmentVariable('TAGS', '{}'))

param functionAppName = readEnvironmentVariable('FUNCTION_APP_NAME')

param storageAccountName = readEnvironmentVariable('STORAGE_ACCOUNT_NAME')

param deadLettersContainer = readEnvironmentVariable('DEAD_LETTERS_CONTAINER')

param actionGroupId = readEnvironmentVariable('ACTION_GROUP_ID')

param topicName = readEnvironmentVariable('TOPIC_NAME')

param mailWorkflowName = readEnvironmentVariable('MAIL_WORKFLOW_NAME', '')

param teamsWorkflowName = readEnvironmentVariable('TEAMS_WORKFLOW_NAME', '')

param slackWorkflowName = readEnvironmentVariable('SLACK_WORKFLOW_NAME', '')

param vaultIds = split(readEnvironmentVariable('VAULT_IDS'), ',')

param vaultTopics = split(readEnvironmentVariable('VAULT_TOPICS', ''), ',')

param vaultLocations = split(readEnvironmentVariable('VAULT_LOCATIONS'), ',')

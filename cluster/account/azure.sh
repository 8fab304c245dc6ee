#!/bin/bash
# What cluster/azure.yaml needs of a subscription, once: a group for what stays (identity, storage), a group for the
# clusters, and the rights of one on the other. Of these only what lies in the storage costs.
#
#   bash cluster/account/azure.sh LOCATION
#
# Called again it mends what is missing.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
location=$1
subscription=$(az account show --query id -o tsv)
# Names of storage accounts are of the whole world: 3 to 24 small letters and digits.
storage=distml$(echo "$subscription" | sha256sum | cut -c1-12)

az group create -n distml -l "$location" -o none
az group create -n distml-cluster -l "$location" -o none
az identity show -g distml -n distml -o none 2> /dev/null || az identity create -g distml -n distml -o none
az storage account show -g distml -n "$storage" -o none 2> /dev/null ||
    az storage account create -g distml -n "$storage" -l "$location" --sku Standard_LRS --kind StorageV2 \
        --min-tls-version TLS1_2 --allow-blob-public-access false --hns true -o none

principal=$(az identity show -g distml -n distml --query principalId -o tsv)
identity=$(az identity show -g distml -n distml --query id -o tsv)
cluster=$(az group show -n distml-cluster --query id -o tsv)
account=$(az storage account show -g distml -n "$storage" --query id -o tsv)
allow() { az role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \
    --role "$1" --scope "$2" -o none; }
# Machines are made by deployments; there is no ready-made role for those alone but Contributor, which may do more. (Ray's `up`
# makes the identity Contributor of the group all the same; with these it is enough for a head when somebody takes that away.)
az role definition list --custom-role-only --name "distml deployments" --query '[0].id' -o tsv | grep -q . ||
    az role definition create -o none --role-definition "{\"Name\": \"distml deployments\",
        \"Description\": \"Deploy into the group of distml's clusters\",
        \"Actions\": [\"Microsoft.Resources/deployments/*\", \"Microsoft.Resources/subscriptions/resourceGroups/read\"],
        \"AssignableScopes\": [\"/subscriptions/$subscription/resourceGroups/distml-cluster\"]}"
allow "distml deployments" "$cluster"
allow "Virtual Machine Contributor" "$cluster"
allow "Network Contributor" "$cluster"
allow "Managed Identity Operator" "$identity"
allow "Storage Blob Data Contributor" "$account"
az storage container create --account-name "$storage" -n runs --auth-mode login -o none || true
echo "storage for runs: abfs://runs@$storage.dfs.core.windows.net/distml"

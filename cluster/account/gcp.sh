#!/bin/bash
# What cluster/gcp.yaml needs of a project, once: a network whose firewall lets only your address in, an account for the
# head, an account for workers that can only use the bucket, and the bucket. Of these only the bucket's content costs.
#
#   bash cluster/account/gcp.sh PROJECT REGION YOUR.IP.ADDRESS.HERE/32
#
# Called again it mends what is missing and sets the address anew.
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
project=$1 region=$2 ssh_from=$3
case $ssh_from in
    */[89] | */[12][0-9] | */3[0-2]) ;;
    *) echo "$ssh_from: say which addresses may use SSH as CIDR, such as 203.0.113.7/32"; exit 2 ;;
esac
bucket=$project-distml

quiet() { "$@" --project "$project" --quiet; }
there() { "$@" --project "$project" > /dev/null 2>&1; }

quiet gcloud services enable compute.googleapis.com iam.googleapis.com cloudresourcemanager.googleapis.com

there gcloud compute networks describe distml ||
    quiet gcloud compute networks create distml --subnet-mode=custom
there gcloud compute networks subnets describe distml --region "$region" ||
    quiet gcloud compute networks subnets create distml --network=distml --region="$region" --range=10.64.0.0/20
there gcloud compute firewall-rules describe distml-inside ||
    quiet gcloud compute firewall-rules create distml-inside --network=distml --source-tags=distml \
        --target-tags=distml --allow=tcp,udp,icmp
if there gcloud compute firewall-rules describe distml-ssh; then
    quiet gcloud compute firewall-rules update distml-ssh --source-ranges="$ssh_from"
else
    quiet gcloud compute firewall-rules create distml-ssh --network=distml --source-ranges="$ssh_from" \
        --target-tags=distml --allow=tcp:22
fi

for name in head worker; do
    there gcloud iam service-accounts describe "distml-$name@$project.iam.gserviceaccount.com" ||
        quiet gcloud iam service-accounts create "distml-$name" --display-name "distml $name"
done
head=distml-head@$project.iam.gserviceaccount.com
worker=distml-worker@$project.iam.gserviceaccount.com
# The narrowest of Google's ready-made roles with which machines can be made, tagged and deleted.
quiet gcloud projects add-iam-policy-binding "$project" --condition=None \
    --member="serviceAccount:$head" --role=roles/compute.instanceAdmin.v1 > /dev/null
# May give the workers' account to machines, and no other.
quiet gcloud iam service-accounts add-iam-policy-binding "$worker" \
    --member="serviceAccount:$head" --role=roles/iam.serviceAccountUser > /dev/null

there gcloud storage buckets describe "gs://$bucket" ||
    quiet gcloud storage buckets create "gs://$bucket" --location="$region" \
        --uniform-bucket-level-access --public-access-prevention
for member in "$head" "$worker"; do
    quiet gcloud storage buckets add-iam-policy-binding "gs://$bucket" \
        --member="serviceAccount:$member" --role=roles/storage.objectAdmin > /dev/null
done
echo "storage for runs: gs://$bucket/runs"

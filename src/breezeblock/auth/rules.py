"""The default policy: which persona may do what, by the rule names of the block storage API.

`auth.policy` judges by them, `breezeblock policy` prints them: beside each rule stands what is
asked for when it decides. `BASE` holds the rules that an operator's policy.yaml likes to refer to.
"""

from __future__ import annotations

ADMIN = "rule:admin_api"
MEMBER = "rule:xena_system_admin_or_project_member"
READER = "rule:xena_system_admin_or_project_reader"
SERVICE = "rule:service_or_admin"

ADMINISTRATOR = "context_is_admin"
"""Who passes this one sees what all projects have."""

BASE = {
    "admin_api": "is_admin:True or role:admin",
    "admin_or_owner": "is_admin:True or role:admin or project_id:%(project_id)s",
    "system_or_domain_or_project_admin": "is_admin:True or role:admin",
    "xena_system_admin_or_project_member": (
        "is_admin:True or role:admin or (role:member and project_id:%(project_id)s)"
    ),
    "xena_system_admin_or_project_reader": (
        "is_admin:True or role:admin or (role:reader and project_id:%(project_id)s)"
    ),
    ADMINISTRATOR: "role:admin",
    "project_reader_api": "role:reader and project_id:%(project_id)s",
    "project_member_api": "role:member and project_id:%(project_id)s",
    "project_manager_api": "role:manager and project_id:%(project_id)s",
    "project_reader_or_admin": "rule:project_reader_api or rule:admin_api",
    "project_member_or_admin": "rule:project_member_api or rule:admin_api",
    "project_manager_or_admin": "rule:project_manager_api or rule:admin_api",
    "service_api": "role:service",
    "service_or_admin": "rule:service_api or rule:admin_api",
}
"""By the names that Cinder's and Nova's operators know: one file may serve both APIs."""

RENAMED = {
    "group:group_types_manage": (
        "group:group_types:create",
        "group:group_types:update",
        "group:group_types:delete",
    ),
    "group:group_types_specs": (
        "group:group_types_specs:get",
        "group:group_types_specs:get_all",
        "group:group_types_specs:create",
        "group:group_types_specs:update",
        "group:group_types_specs:delete",
    ),
    "volume_extension:quota_classes": (
        "volume_extension:quota_classes:get",
        "volume_extension:quota_classes:update",
    ),
    "volume_extension:types_manage": (
        "volume_extension:type_create",
        "volume_extension:type_update",
        "volume_extension:type_delete",
    ),
    "volume_extension:volume_image_metadata": (
        "volume_extension:volume_image_metadata:show",
        "volume_extension:volume_image_metadata:set",
        "volume_extension:volume_image_metadata:remove",
    ),
}
"""Names of older files, each with those that took its place."""

_ADMIN_RULES = {
    "backup:backup-import": "POST /backups/import_record",
    "backup:backup_project_attribute": "GET /backups/{id}, /backups/detail: the project is shown",
    "backup:export-import": "GET /backups/{id}/export_record",
    "clusters:get": "GET /clusters/{id}",
    "clusters:get_all": "GET /clusters; GET /clusters/detail",
    "clusters:update": "PUT /clusters/enable; PUT /clusters/disable",
    "group:access_group_types_specs": "GET /group_types/{id}: the specs are shown",
    "group:group_project_attribute": "GET /groups/{id}, /groups/detail: the project is shown",
    "group:group_snapshot_project_attribute": (
        "GET /group_snapshots/{id}, /group_snapshots/detail: the project is shown"
    ),
    "group:group_types:create": "POST /group_types",
    "group:group_types:delete": "DELETE /group_types/{id}",
    "group:group_types:update": "PUT /group_types/{id}",
    "group:group_types_specs:create": "POST /group_types/{id}/group_specs",
    "group:group_types_specs:delete": "DELETE /group_types/{id}/group_specs/{key}",
    "group:group_types_specs:get": "GET /group_types/{id}/group_specs/{key}",
    "group:group_types_specs:get_all": "GET /group_types/{id}/group_specs",
    "group:group_types_specs:update": "PUT /group_types/{id}/group_specs/{key}",
    "group:reset_group_snapshot_status": "POST /group_snapshots/{id}/action (reset_status)",
    "group:reset_status": "POST /groups/{id}/action (reset_status)",
    "scheduler_extension:scheduler_stats:get_pools": "GET /scheduler-stats/get_pools",
    "snapshot_extension:list_manageable": (
        "GET /manageable_snapshots; GET /manageable_snapshots/detail; GET /os-snapshot-manage; "
        "GET /os-snapshot-manage/detail"
    ),
    "snapshot_extension:snapshot_manage": "POST /manageable_snapshots; POST /os-snapshot-manage",
    "snapshot_extension:snapshot_unmanage": "POST /snapshots/{id}/action (os-unmanage)",
    "volume:failover_host": "PUT /os-services/failover_host",
    "volume:force_delete": "DELETE /volumes/{id}?force=true",
    "volume:freeze_host": "PUT /os-services/freeze",
    "volume:thaw_host": "PUT /os-services/thaw",
    "volume:update_volume_admin_metadata": (
        "nothing: what it concerns is written by the service itself"
    ),
    "volume_extension:access_types_qos_specs_id": (
        "GET /types, /types/{id}: the QoS specs are shown"
    ),
    "volume_extension:backup_admin_actions:force_delete": (
        "POST /backups/{id}/action (os-force_delete)"
    ),
    "volume_extension:backup_admin_actions:reset_status": (
        "POST /backups/{id}/action (os-reset_status)"
    ),
    "volume_extension:capabilities": "GET /capabilities/{id}",
    "volume_extension:default_get": "GET /default-types/{id}",
    "volume_extension:default_get_all": "GET /default-types",
    "volume_extension:default_set_or_update": "PUT /default-types/{id}",
    "volume_extension:default_unset": "DELETE /default-types/{id}",
    "volume_extension:hosts": "GET /os-hosts; GET /os-hosts/{id}; PUT /os-hosts/{id}",
    "volume_extension:list_manageable": (
        "GET /manageable_volumes; GET /manageable_volumes/detail; GET /os-volume-manage; "
        "GET /os-volume-manage/detail"
    ),
    "volume_extension:qos_specs_manage:create": "POST /qos-specs",
    "volume_extension:qos_specs_manage:delete": (
        "DELETE /qos-specs/{id}; PUT /qos-specs/{id}/delete_keys"
    ),
    "volume_extension:qos_specs_manage:get": "GET /qos-specs/{id}",
    "volume_extension:qos_specs_manage:get_all": "GET /qos-specs; GET /qos-specs/{id}/associations",
    "volume_extension:qos_specs_manage:update": (
        "PUT /qos-specs/{id}; GET /qos-specs/{id}/associate; GET /qos-specs/{id}/disassociate; "
        "GET /qos-specs/{id}/disassociate_all"
    ),
    "volume_extension:quota_classes:get": "GET /os-quota-class-sets/{id}",
    "volume_extension:quota_classes:update": "PUT /os-quota-class-sets/{id}",
    "volume_extension:quotas:delete": "DELETE /os-quota-sets/{id}",
    "volume_extension:quotas:update": "PUT /os-quota-sets/{id}",
    "volume_extension:services:index": "GET /os-services",
    "volume_extension:services:update": (
        "PUT /os-services/enable; PUT /os-services/disable; PUT /os-services/disable-log-reason; "
        "PUT /os-services/freeze; PUT /os-services/thaw; PUT /os-services/failover_host; "
        "PUT /os-services/get-log; PUT /os-services/set-log"
    ),
    "volume_extension:snapshot_admin_actions:force_delete": (
        "POST /snapshots/{id}/action (os-force_delete)"
    ),
    "volume_extension:snapshot_admin_actions:reset_status": (
        "POST /snapshots/{id}/action (os-reset_status)"
    ),
    "volume_extension:type_create": "POST /types",
    "volume_extension:type_delete": "DELETE /types/{id}",
    "volume_extension:type_update": "PUT /types/{id}",
    "volume_extension:types_extra_specs:create": "POST /types/{id}/extra_specs",
    "volume_extension:types_extra_specs:delete": "DELETE /types/{id}/extra_specs/{id}",
    "volume_extension:types_extra_specs:read_sensitive": (
        "GET /types…: all extra specs are shown, not the harmless ones only"
    ),
    "volume_extension:types_extra_specs:update": "PUT /types/{id}/extra_specs/{id}",
    "volume_extension:volume_actions:upload_public": (
        "POST /volumes/{id}/action (os-volume_upload_image), of a public image"
    ),
    "volume_extension:volume_admin_actions:extend_volume_completion": (
        "POST /volumes/{id}/action (os-extend_volume_completion)"
    ),
    "volume_extension:volume_admin_actions:force_delete": (
        "POST /volumes/{id}/action (os-force_delete)"
    ),
    "volume_extension:volume_admin_actions:force_detach": (
        "POST /volumes/{id}/action (os-force_detach)"
    ),
    "volume_extension:volume_admin_actions:migrate_volume": (
        "POST /volumes/{id}/action (os-migrate_volume)"
    ),
    "volume_extension:volume_admin_actions:migrate_volume_completion": (
        "POST /volumes/{id}/action (os-migrate_volume_completion)"
    ),
    "volume_extension:volume_admin_actions:reset_status": (
        "POST /volumes/{id}/action (os-reset_status)"
    ),
    "volume_extension:volume_host_attribute": (
        "GET /volumes/{id}, /volumes/detail: the host is shown"
    ),
    "volume_extension:volume_manage": "POST /manageable_volumes; POST /os-volume-manage",
    "volume_extension:volume_mig_status_attribute": (
        "GET /volumes/{id}, /volumes/detail: the migration is shown"
    ),
    "volume_extension:volume_type_access:addProjectAccess": (
        "POST /types/{id}/action (addProjectAccess)"
    ),
    "volume_extension:volume_type_access:get_all_for_type": "GET /types/{id}/os-volume-type-access",
    "volume_extension:volume_type_access:removeProjectAccess": (
        "POST /types/{id}/action (removeProjectAccess)"
    ),
    "volume_extension:volume_type_encryption": "nothing: each call has a rule of its own",
    "volume_extension:volume_type_encryption:create": "POST /types/{id}/encryption",
    "volume_extension:volume_type_encryption:delete": "DELETE /types/{id}/encryption/{id}",
    "volume_extension:volume_type_encryption:get": (
        "GET /types/{id}/encryption; GET /types/{id}/encryption/{id}"
    ),
    "volume_extension:volume_type_encryption:update": "PUT /types/{id}/encryption/{id}",
    "volume_extension:volume_unmanage": "POST /volumes/{id}/action (os-unmanage)",
    "workers:cleanup": "POST /workers/cleanup",
}

_MEMBER_RULES = {
    "backup:create": "POST /backups",
    "backup:delete": "DELETE /backups/{id}",
    "backup:restore": "POST /backups/{id}/restore",
    "backup:update": "PUT /backups/{id}",
    "group:create": "POST /groups; POST /groups/action (create-from-src)",
    "group:create_group_snapshot": "POST /group_snapshots",
    "group:delete": "POST /groups/{id}/action (delete)",
    "group:delete_group_snapshot": "DELETE /group_snapshots/{id}",
    "group:disable_replication": "POST /groups/{id}/action (disable_replication)",
    "group:enable_replication": "POST /groups/{id}/action (enable_replication)",
    "group:failover_replication": "POST /groups/{id}/action (failover_replication)",
    "group:list_replication_targets": "POST /groups/{id}/action (list_replication_targets)",
    "group:update": "PUT /groups/{id}",
    "group:update_group_snapshot": "PUT /group_snapshots/{id}",
    "message:delete": "DELETE /messages/{id}",
    "snapshot_extension:snapshot_actions:update_snapshot_status": (
        "POST /snapshots/{id}/action (os-update_snapshot_status)"
    ),
    "volume:accept_transfer": (
        "POST /volume-transfers/{id}/accept; POST /os-volume-transfer/{id}/accept"
    ),
    "volume:attachment_complete": "POST /attachments/{id}/action (os-complete)",
    "volume:attachment_create": "POST /attachments",
    "volume:attachment_delete": "DELETE /attachments/{id}",
    "volume:attachment_update": "PUT /attachments/{id}",
    "volume:create": "POST /volumes",
    "volume:create_from_image": "POST /volumes, from an image",
    "volume:create_snapshot": "POST /snapshots",
    "volume:create_transfer": "POST /volume-transfers; POST /os-volume-transfer",
    "volume:create_volume_metadata": "POST /volumes/{id}/metadata",
    "volume:delete": "DELETE /volumes/{id}",
    "volume:delete_snapshot": "DELETE /snapshots/{id}",
    "volume:delete_snapshot_metadata": "DELETE /snapshots/{id}/metadata/{id}",
    "volume:delete_transfer": "DELETE /volume-transfers/{id}; DELETE /os-volume-transfer/{id}",
    "volume:delete_volume_metadata": "DELETE /volumes/{id}/metadata/{id}",
    "volume:extend": "POST /volumes/{id}/action (os-extend)",
    "volume:extend_attached_volume": "POST /volumes/{id}/action (os-extend), of a volume in use",
    "volume:multiattach": "POST /volumes, of a type for several servers",
    "volume:multiattach_bootable_volume": "POST /attachments, a second one of a bootable volume",
    "volume:reimage": "POST /volumes/{id}/action (os-reimage)",
    "volume:reimage_reserved": "POST /volumes/{id}/action (os-reimage), of a reserved volume",
    "volume:retype": "POST /volumes/{id}/action (os-retype)",
    "volume:revert_to_snapshot": "POST /volumes/{id}/action (revert)",
    "volume:update": "PUT /volumes/{id}; POST /volumes/{id}/action (os-set_bootable)",
    "volume:update_readonly_flag": "POST /volumes/{id}/action (os-update_readonly_flag)",
    "volume:update_snapshot": "PUT /snapshots/{id}",
    "volume:update_snapshot_metadata": (
        "POST /snapshots/{id}/metadata; PUT /snapshots/{id}/metadata; "
        "PUT /snapshots/{id}/metadata/{id}"
    ),
    "volume:update_volume_metadata": "PUT /volumes/{id}/metadata; PUT /volumes/{id}/metadata/{id}",
    "volume_extension:volume_actions:attach": "POST /volumes/{id}/action (os-attach)",
    "volume_extension:volume_actions:begin_detaching": (
        "POST /volumes/{id}/action (os-begin_detaching)"
    ),
    "volume_extension:volume_actions:detach": "POST /volumes/{id}/action (os-detach)",
    "volume_extension:volume_actions:initialize_connection": (
        "POST /volumes/{id}/action (os-initialize_connection)"
    ),
    "volume_extension:volume_actions:reserve": "POST /volumes/{id}/action (os-reserve)",
    "volume_extension:volume_actions:roll_detaching": (
        "POST /volumes/{id}/action (os-roll_detaching)"
    ),
    "volume_extension:volume_actions:terminate_connection": (
        "POST /volumes/{id}/action (os-terminate_connection)"
    ),
    "volume_extension:volume_actions:unreserve": "POST /volumes/{id}/action (os-unreserve)",
    "volume_extension:volume_actions:upload_image": (
        "POST /volumes/{id}/action (os-volume_upload_image)"
    ),
    "volume_extension:volume_image_metadata:remove": (
        "POST /volumes/{id}/action (os-unset_image_metadata)"
    ),
    "volume_extension:volume_image_metadata:set": (
        "POST /volumes/{id}/action (os-set_image_metadata)"
    ),
    "volume_extension:volume_type_access": "GET /types, /types/{id}: whether it is public is shown",
}

_READER_RULES = {
    "backup:get": "GET /backups/{id}",
    "backup:get_all": "GET /backups; GET /backups/detail",
    "group:get": "GET /groups/{id}",
    "group:get_all": "GET /groups; GET /groups/detail",
    "group:get_all_group_snapshots": "GET /group_snapshots; GET /group_snapshots/detail",
    "group:get_group_snapshot": "GET /group_snapshots/{id}",
    "limits_extension:used_limits": "GET /limits: the usage is shown",
    "message:get": "GET /messages/{id}",
    "message:get_all": "GET /messages",
    "volume:get": "GET /volumes/{id}",
    "volume:get_all": "GET /volumes; GET /volumes/detail; GET /volumes/summary",
    "volume:get_all_snapshots": "GET /snapshots; GET /snapshots/detail",
    "volume:get_all_transfers": (
        "GET /volume-transfers; GET /volume-transfers/detail; GET /os-volume-transfer; "
        "GET /os-volume-transfer/detail"
    ),
    "volume:get_snapshot": "GET /snapshots/{id}",
    "volume:get_snapshot_metadata": (
        "GET /snapshots/{id}/metadata; GET /snapshots/{id}/metadata/{id}"
    ),
    "volume:get_transfer": "GET /volume-transfers/{id}; GET /os-volume-transfer/{id}",
    "volume:get_volume_metadata": (
        "POST /volumes/{id}/action (os-show_image_metadata); GET /volumes/{id}/metadata; "
        "GET /volumes/{id}/metadata/{id}"
    ),
    "volume_extension:access_types_extra_specs": "GET /types, /types/{id}: extra specs are shown",
    "volume_extension:extended_snapshot_attributes": (
        "GET /snapshots/{id}, /snapshots/detail: project and progress are shown"
    ),
    "volume_extension:quotas:show": "GET /os-quota-sets/{id}; GET /os-quota-sets/{id}/defaults",
    "volume_extension:type_get": "GET /types/{id}",
    "volume_extension:type_get_all": "GET /types",
    "volume_extension:types_extra_specs:index": "GET /types/{id}/extra_specs",
    "volume_extension:types_extra_specs:show": "GET /types/{id}/extra_specs/{id}",
    "volume_extension:volume_encryption_metadata": (
        "GET /volumes/{id}/encryption; GET /volumes/{id}/encryption/{id}"
    ),
    "volume_extension:volume_image_metadata:show": (
        "GET /volumes/{id}, /volumes/detail: image metadata are shown"
    ),
    "volume_extension:volume_tenant_attribute": (
        "GET /volumes/{id}, /volumes/detail: the project is shown"
    ),
}

DECIDES: dict[str, str] = {**_ADMIN_RULES, **_MEMBER_RULES, **_READER_RULES}
"""By rule: the calls that it decides about."""

DEFAULTS: dict[str, str] = {
    **dict.fromkeys(_ADMIN_RULES, ADMIN),
    **dict.fromkeys(_MEMBER_RULES, MEMBER),
    **dict.fromkeys(_READER_RULES, READER),
}

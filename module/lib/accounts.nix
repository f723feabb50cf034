# The users and groups that the host gets, by the names that it knows them by: `name` may
# be another than the attribute's, and a user that is turned off is none. `key` is the
# attribute's name, and `path` where the account is set.
{ config, lib }:
let
  byName =
    option: accounts:
    lib.mapAttrs' (
      key: account:
      lib.nameValuePair account.name (
        account
        // {
          inherit key;
          path = lib.showOption [
            "users"
            option
            key
          ];
        }
      )
    ) accounts;
in
{
  users = byName "users" (lib.filterAttrs (_: user: user.enable) config.users.users);
  groups = byName "groups" config.users.groups;
}

# A value that becomes JSON. Of a function in it Nix would only say that it can't
# be converted; this names the option.
{ lib }:
let
  checked =
    path: value:
    if lib.isFunction value then
      throw "${lib.showOption path} is a function, which no flag can be. Call it, or write a value."
    else if lib.isList value then
      map (checked path) value
    else if lib.isAttrs value && !(value ? outPath || value ? __toString) then
      lib.mapAttrs (name: checked (path ++ [ name ])) value
    else
      value;
in
checked

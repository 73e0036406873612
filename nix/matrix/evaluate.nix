# What becomes of some of the configurations, by their names.
{ nixpkgs, third ? null, names, system ? "x86_64-linux" }:
let
  lib = import (nixpkgs + "/lib");
  all = import ./configurations.nix { inherit nixpkgs third lib system; };
  evaluate =
    name:
    let
      c = all.${name};
      inherit
        (import (nixpkgs + "/nixos/lib/eval-config.nix") {
          system = null;
          modules = [
            ../module.nix
            {
              boot.netstage.enable = true;
              nixpkgs.hostPlatform = system;
              system.stateVersion = lib.trivial.release;
            }
            c.config
          ];
        })
        config
        ;
      failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
      own = builtins.filter (lib.hasInfix "boot.netstage");
      builds = [
        config.system.build.toplevel.drvPath
        config.system.build.netstageTree.drvPath
        config.system.build.netstageAllInOneRamdisk.drvPath
        config.system.build.netstageVm.drvPath
      ]
      ++ (c.also or (_: [ ])) config;
      ramdisk = config.system.build.netstageRamdisk;
      lacks = text: list: builtins.filter (t: !(lib.hasInfix t text)) list;
      missing =
        lacks (builtins.replaceStrings [ "'" ] [ "" ] (builtins.unsafeDiscardStringContext ramdisk.buildCommand)) (c.initrd or [ ])
        ++ lacks (builtins.unsafeDiscardStringContext config.system.build.netstageImage.buildCommand) (c.image or [ ])
        ++ lacks ramdisk.table (c.table or [ ]);
      is =
        if failed != [ ] then
          "refused"
        else if !config.boot.netstage.active then
          "off"
        else if own config.warnings != [ ] then
          "warns"
        else
          "works";
      evaluated = if is == "refused" || is == "off" then true else builtins.deepSeq (builtins.filter (w: w != "") config.warnings) (builtins.deepSeq builds true);
      says = if is == "refused" then failed else own config.warnings;
      right =
        evaluated
        && is == c.is
        && lib.hasInfix (c.text or "") (toString says)
        && (is == "refused" || is == "off" || missing == [ ])
        # A refusal is netstage's, and nobody else's.
        && (is != "refused" || own failed != [ ]);
    in
    {
      inherit name is right;
      wanted = c.is;
      says = map (builtins.replaceStrings [ "\n" ] [ " " ]) says ++ map (t: "MISSING ${t}") (if is == "works" || is == "warns" then missing else [ ]);
    };
in
if names == [ ] then builtins.attrNames all else map evaluate names

# As much of nixpkgs' lib as the project's Nix files use, for where that is not
# at hand. What it has behaves alike, down to refusing the wrong kind of value.
let
  inherit (builtins) attrNames concatLists concatMap concatStringsSep elemAt filter foldl' genList isAttrs isFunction
    isPath isString length listToAttrs replaceStrings stringLength substring;
  lib = rec {
    inherit (builtins) attrNames attrValues compareVersions concatLists concatMap concatStringsSep elem elemAt filter
      foldl' head isAttrs isBool isFunction isList isString length listToAttrs any all mapAttrs removeAttrs sort
      replaceStrings tail;
    inherit (import ./stub-modules.nix lib) types evalModules;
    inherit (import ./stub-fileset.nix lib) fileset;
    licenses.mit = { spdxId = "MIT"; };

    mkOption = x: x // { _type = "option"; };
    mkEnableOption = description: mkOption { default = false; type = types.bool; inherit description; };
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    literalMD = text: { _type = "literalMD"; inherit text; };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkImageMediaOverride = mkOverride 60;
    mkVMOverride = mkOverride 10;
    showOption = concatStringsSep ".";

    id = x: x;
    isDerivation = v: v.type or null == "derivation";
    optional = c: x: if c then [ x ] else [ ];
    optionals = c: x: if c then x else [ ];
    optionalString = c: x: if c then x else "";
    optionalAttrs = c: x: if c then x else { };
    hasPrefix = p: s: if isPath s then throw "lib.strings.hasPrefix: a path is no string" else substring 0 (stringLength p) s == p;
    hasSuffix = p: s: stringLength s >= stringLength p && substring (stringLength s - stringLength p) (stringLength p) s == p;
    removePrefix = p: s: if hasPrefix p s then substring (stringLength p) (stringLength s) s else s;
    hasInfix = i: s: replaceStrings [ i ] [ "" ] s != s;
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = f: set: listToAttrs (map (n: f n set.${n}) (attrNames set));
    mapAttrsToList = f: set: map (n: f n set.${n}) (attrNames set);
    filterAttrs = f: set: removeAttrs set (filter (n: !(f n set.${n})) (attrNames set));
    genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
    attrByPath = path: otherwise: set:
      if path == [ ] then set
      else if isAttrs set && set ? ${builtins.head path} then attrByPath (builtins.tail path) otherwise set.${builtins.head path}
      else otherwise;
    recursiveUpdate = a: b:
      a // builtins.mapAttrs (n: v: if isAttrs v && isAttrs (a.${n} or null) then recursiveUpdate a.${n} v else v) b;
    concatMapStrings = f: list: concatStringsSep "" (map f list);
    concatMapStringsSep = sep: f: list: concatStringsSep sep (map f list);
    fileContents = file: let m = builtins.match "(.*[^\n])\n*" (builtins.readFile file); in builtins.head m;
    escapeShellArg = s: "'" + replaceStrings [ "'" ] [ "'\\''" ] (toString s) + "'";
    escapeShellArgs = list: concatStringsSep " " (map escapeShellArg list);
    toLower = replaceStrings
      [ "A" "B" "C" "D" "E" "F" "H" "P" "S" "T" ] [ "a" "b" "c" "d" "e" "f" "h" "p" "s" "t" ];
    splitString = sep: s: filter isString (builtins.split (builtins.replaceStrings [ "." ] [ "[.]" ] sep) s);
    last = list: elemAt list (length list - 1);
    imap1 = f: list: genList (n: f (n + 1) (elemAt list n)) (length list);
    unique = foldl' (all: x: if builtins.elem x all then all else all ++ [ x ]) [ ];
    makeBinPath = paths: concatStringsSep ":" (map (p: "${p}/bin") paths);
  };
in
lib

# As much of nixpkgs' lib as module.nix uses, and an evaluator that stands in for
# evalModules: settings win over what the module sets, that over NixOS's own
# defaults, and nothing is type checked.
let
  inherit (builtins) attrNames concatLists concatMap concatStringsSep elemAt filter foldl' genList isAttrs length
    replaceStrings stringLength substring;
  wrapped = _: null;
in
rec {
  inherit (builtins) attrNames attrValues compareVersions concatLists concatMap concatStringsSep elem filter head
    listToAttrs any;
  mkOption = x: x // { _type = "option"; };
  mkEnableOption = _: mkOption { default = false; };
  literalExpression = x: x;
  literalMD = x: x;
  mkIf = condition: content: if condition then content else { };
  mkDefault = x: x;
  mkImageMediaOverride = x: x;
  types = {
    bool = null; package = null; path = null; singleLineStr = null;
    ints.unsigned = null;
    strMatching = wrapped; listOf = wrapped; nullOr = wrapped; attrsOf = wrapped; submodule = wrapped; enum = wrapped;
    either = _: wrapped;
  };
  optional = c: x: if c then [ x ] else [ ];
  optionals = c: x: if c then x else [ ];
  optionalString = c: x: if c then x else "";
  optionalAttrs = c: x: if c then x else { };
  hasPrefix = p: s: substring 0 (stringLength p) s == p;
  hasInfix = i: s: replaceStrings [ i ] [ "" ] s != s;
  versionAtLeast = a: b: builtins.compareVersions a b >= 0;
  mapAttrsToList = f: set: map (n: f n set.${n}) (attrNames set);
  concatMapStrings = f: list: concatStringsSep "" (map f list);
  escapeShellArg = s: "'" + replaceStrings [ "'" ] [ "'\\''" ] (toString s) + "'";
  escapeShellArgs = list: concatStringsSep " " (map escapeShellArg list);
  toLower = replaceStrings
    [ "A" "B" "C" "D" "E" "F" "H" "P" "S" "T" ] [ "a" "b" "c" "d" "e" "f" "h" "p" "s" "t" ];
  splitString = sep: s: filter builtins.isString (builtins.split sep s);
  last = list: elemAt list (length list - 1);
  imap1 = f: list: genList (n: f (n + 1) (elemAt list n)) (length list);
  unique = foldl' (all: x: if builtins.elem x all then all else all ++ [ x ]) [ ];
  makeBinPath = paths: concatStringsSep ":" (map (p: "${p}/bin") paths);
  recursiveUpdate = a: b:
    a // builtins.mapAttrs (n: v: if isAttrs v && isAttrs (a.${n} or null) then recursiveUpdate a.${n} v else v) b;

  defaults = options:
    if options._type or "" == "option" then options.default or null
    else builtins.mapAttrs (_: defaults) options;

  evaluate = { nixos, settings, args, modules }:
    let
      call = file: import file (args // {
        inherit config;
        options.fileSystems.definitions = [ (settings.fileSystems or { }) ];
      });
      base = {
        boot.initrd = { enable = false; systemd.enable = false; };
        fileSystems = { };
      };
      # Without what the module sets: it reads nothing of that.
      config = recursiveUpdate (recursiveUpdate (recursiveUpdate base nixos) (defaults (call (builtins.head modules)).options)) settings';
      settings' = settings // { fileSystems = named (settings.fileSystems or { }); };
      named = builtins.mapAttrs (n: fs: { mountPoint = n; options = [ "defaults" ]; device = null; } // fs);
    in
    recursiveUpdate config (call (last modules)).config;
}

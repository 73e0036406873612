# Mounts that modules ask systemd stage 1 for (impermanence and preservation
# do): folders and files of the new root, /sysroot there, at other places of it.
{ lib, mounts, tmpfiles }:

let
  inherit (lib) hasPrefix optional removePrefix splitString;
  inRoot = hasPrefix "/sysroot/";
  place = removePrefix "/sysroot";

  options = m: lib.filter (o: o != "") (splitString "," (toString (m.options or "")));
  bindInRoot =
    m:
    inRoot (m.where or "")
    && inRoot (m.what or "")
    && (m.where != m.what)
    && lib.any (o: lib.elem o (options m)) [ "bind" "rbind" ];

  # What stage 1 is to make where it is missing: by tmpfiles.d(5), a file or a
  # folder, with its mode.
  rules = path: lib.concatMap (r: optional (r ? ${path}) r.${path}) (lib.attrValues tmpfiles);
  mode = rule: lib.filter (m: !(lib.elem m [ null "-" "" ])) [ (rule.mode or null) ];
  made =
    path:
    lib.concatMap (
      types:
      if types ? f then
        [ "x-netstage.file" ] ++ map (m: "x-netstage.mode=${m}") (mode types.f)
      else
        map (m: "x-netstage.mode=${m}") (mode (types.d or { }))
    ) (rules path);

  # A parent's mount comes before those below it.
  depth = fs: lib.length (splitString "/" fs.mountPoint);

  # What of the rules comes of mounting: a place to mount at is made, and below a
  # mount it does not show; so are the folders above, and a source as the rule
  # has it, but for owners, whom an initrd does not know.
  binds = lib.filter bindInRoot mounts;
  places = map (m: m.where) binds;
  sources = map (m: m.what) binds;
  none = v: lib.elem v [ null "-" "" ];
  ofRoot = rule: lib.all (who: none who || who == "root" || who == "0") [ (rule.user or null) (rule.group or null) ];
  plain = rule: none (rule.age or null) && none (rule.argument or null);
  does =
    path: type: rule:
    plain rule
    && (
      lib.elem path places && lib.elem type [ "d" "f" ]
      || lib.elem path sources && lib.elem type [ "d" "f" ] && ofRoot rule
      || lib.any (hasPrefix "${path}/") (places ++ sources)
        && type == "d"
        && ofRoot rule
        && lib.elem (rule.mode or null) [ null "-" "" "755" "0755" ]
    );
in
{
  inherit bindInRoot;
  # Whether a rule is left over, of those at a path.
  notMade = path: types: lib.any (type: !does path (types.${type}.type or type) types.${type}) (lib.attrNames types);
  fileSystems = lib.sort (a: b: depth a < depth b) (
    map (m: {
      mountPoint = place m.where;
      device = place m.what;
      fsType = "none";
      options = options m ++ made m.what;
      noCheck = true;
    }) binds
  );
}

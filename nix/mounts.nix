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
in
{
  inherit bindInRoot;
  fileSystems = lib.sort (a: b: depth a < depth b) (
    map (m: {
      mountPoint = place m.where;
      device = place m.what;
      fsType = "none";
      options = options m ++ made m.what;
      noCheck = true;
    }) (lib.filter bindInRoot mounts)
  );
}

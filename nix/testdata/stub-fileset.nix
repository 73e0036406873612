# Sets of files, of which only what they would be is told: which folders, and
# that a filter is applied to a folder and not to a set of them.
lib:
let
  inherit (builtins) isFunction isPath pathExists;
  set = files: { _type = "fileset"; inherit files; };
  coerce = v: if isPath v then set [ v ] else if v._type or "" == "fileset" then v else throw "lib.fileset: neither a path nor a file set";
in
{
  fileset = {
    fileFilter =
      predicate: path:
      if !(isFunction predicate) then
        throw "lib.fileset.fileFilter: First argument is no function."
      else if !(isPath path) then
        throw "lib.fileset.fileFilter: Second argument is a file set, but it should be a path instead."
      else if !(pathExists path) then
        throw "lib.fileset.fileFilter: Second argument (${toString path}) is a path that does not exist."
      else
        set [ path ];
    unions = list: set (builtins.concatMap (v: (coerce v).files) list);
    toSource = { root, fileset }: if isPath root then { outPath = toString root; inherit (coerce fileset) files; } else throw "lib.fileset.toSource: root is no path";
  };
}

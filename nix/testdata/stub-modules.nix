# A small evaluator of modules: as much of nixpkgs' as finds what is wrong with a
# module. Options have to exist, have values of their types, and are not defined
# twice in different ways at one priority; conditions may depend on config.
lib:
let
  inherit (builtins)
    all any attrNames concatLists concatMap elemAt filter foldl' head isAttrs isBool isFunction isInt isList isPath
    isString length listToAttrs mapAttrs match tail toString;
  inherit (lib) showOption unique;

  kind = v: if isAttrs v then v._type or "" else "";
  # What v says of the attribute name, with the conditions around it.
  get =
    name: v:
    if kind v == "if" then
      map (content: v // { inherit content; }) (get name v.content)
    else if kind v == "override" then
      map (content: v // { inherit content; }) (get name v.content)
    else if kind v == "merge" then
      concatMap (get name) v.contents
    else if isAttrs v && v ? ${name} then
      [ v.${name} ]
    else
      [ ];
  names =
    v:
    if kind v == "if" || kind v == "override" then
      names v.content
    else if kind v == "merge" then
      concatMap names v.contents
    else if isAttrs v then
      attrNames v
    else
      throw "a set is expected, not ${builtins.typeOf v}";
  # The values that v stands for, with their priorities.
  discharge =
    priority: v:
    if kind v == "if" then
      if v.condition then discharge priority v.content else [ ]
    else if kind v == "override" then
      discharge v.priority v.content
    else if kind v == "merge" then
      concatMap (discharge priority) v.contents
    else
      [ { inherit priority; value = v; } ];

  # defs are { file, value } with conditions; the result is without, and of the
  # highest priority alone.
  strongest =
    defs:
    let
      plain = concatMap (d: map (x: x // { inherit (d) file; }) (discharge 100 d.value)) defs;
      best = foldl' (p: d: if d.priority < p then d.priority else p) 10000 plain;
    in
    filter (d: d.priority == best) plain;
  at = name: concatMap (d: map (value: { inherit (d) file; inherit value; }) (get name d.value));

  mergeDefs =
    loc: type: defs:
    let
      wrong = filter (d: !(type.check d.value)) defs;
    in
    if wrong != [ ] then
      throw "A definition for option `${showOption loc}' is not of type `${type.name}'. Definition in ${(head wrong).file}"
    else
      type.merge loc defs;
  one =
    loc: defs:
    if all (d: d.value == (head defs).value) (tail defs) then
      (head defs).value
    else
      throw "The option `${showOption loc}' has conflicting definition values: ${toString (map (d: "in ${d.file}") defs)}";
  scalar = name: check: { inherit name check; merge = one; };

  types = rec {
    bool = scalar "boolean" isBool;
    str = scalar "string" isString;
    int = scalar "integer" isInt;
    ints.between = low: high: scalar "integer between" (v: isInt v && v >= low && v <= high);
    ints.unsigned = scalar "unsigned integer" (v: isInt v && v >= 0);
    singleLineStr = scalar "single line" (v: isString v && match "[^\n]*\n?" v != null);
    lines = { name = "lines"; check = isString; merge = _: defs: builtins.concatStringsSep "\n" (map (d: d.value) defs); };
    path = scalar "path" (v: isPath v || lib.isDerivation v || isString v && builtins.substring 0 1 v == "/");
    package = scalar "package" (v: lib.isDerivation v || isString v && builtins.substring 0 1 v == "/");
    raw = { name = "raw"; check = _: true; merge = one; };
    unspecified = raw;
    anything = { name = "anything"; check = _: true; merge = loc: defs: if all (d: isAttrs d.value && !(lib.isDerivation d.value)) defs then (attrsOf anything).merge loc defs else one loc defs; };
    enum = values: scalar "one of ${toString values}" (v: builtins.elem v values);
    strMatching = pattern: scalar "string matching ${pattern}" (v: isString v && match pattern v != null);
    nullOr = t: { name = "null or ${t.name}"; check = v: v == null || t.check v; merge = loc: defs: if all (d: d.value == null) defs then null else mergeDefs loc t defs; };
    either = a: b: { name = "${a.name} or ${b.name}"; check = v: a.check v || b.check v; merge = loc: defs: if all (d: a.check d.value) defs then a.merge loc defs else b.merge loc defs; };
    listOf = t: {
      name = "list of ${t.name}";
      check = isList;
      merge = loc: defs: concatMap (d: map (value: mergeDefs loc t [ { inherit (d) file; inherit value; } ]) d.value) defs;
    };
    attrsOf = t: {
      name = "attribute set of ${t.name}";
      check = isAttrs;
      merge =
        loc: defs:
        let
          raw = map (d: { inherit (d) file value; }) defs;
          one' = name: { inherit name; value = strongest (at name raw); };
        in
        mapAttrs (name: mergeDefs (loc ++ [ name ]) t) (
          listToAttrs (filter (x: x.value != [ ]) (map one' (unique (concatMap (d: names d.value) raw))))
        );
    };
    lazyAttrsOf = attrsOf;
    attrNamesToTrue = {
      name = "names";
      check = v: isList v || isAttrs v;
      merge = loc: defs: (attrsOf bool).merge loc (map (d: d // { value = if isList d.value then listToAttrs (map (name: { inherit name; value = true; }) d.value) else d.value; }) defs);
    };
    submodule = m: {
      name = "submodule";
      check = v: isAttrs v || isFunction v;
      merge = loc: defs: (eval loc { name = lib.last loc; } ([ m ] ++ map (d: { _file = d.file; } // (if isAttrs d.value then { config = d.value; } else { imports = [ d.value ]; })) defs)).config;
    };
    deferredModule = deferredModuleWith { staticModules = [ ]; };
    deferredModuleWith = { staticModules }: {
      name = "module";
      check = v: isAttrs v || isFunction v || isPath v;
      merge = _: defs: { imports = staticModules ++ map (d: d.value) defs; };
    };
  };

  eval =
    prefix: specialArgs: modules:
    let
      args = specialArgs // { inherit lib config options; };
      load =
        file: m:
        let
          path = isPath m || isString m;
          loaded = if path then import m else m;
          value = if isFunction loaded then loaded args else loaded;
          file' = toString (value._file or (if path then m else file));
          explicit = value ? config || value ? options;
        in
        if path && !(builtins.pathExists m) then
          throw "module ${toString m} does not exist"
        else
          concatMap (load file') (value.imports or [ ])
          ++ [
            {
              file = file';
              key = value.key or (if path then toString m else null);
              options = value.options or { };
              config = if explicit then value.config or { } else removeAttrs value [ "imports" "_file" "key" ];
            }
          ];
      all' = concatMap (load "<configuration>") modules;
      loaded = foldl' (done: m: if m.key != null && any (o: o.key == m.key) done then done else done ++ [ m ]) [ ] all';

      declared = foldl' merged { } (map (m: m.options) loaded);
      merged = a: b:
        a // mapAttrs (n: v: if kind v != "option" && a ? ${n} then merged a.${n} v else (a.${n} or { }) // v) b;
      definitions = map (m: { inherit (m) file; value = m.config; }) loaded;

      evaluated = evalTree prefix declared definitions;
      evalTree = loc: tree: defs:
        mapAttrs (name: v:
          if kind v == "option" then option (loc ++ [ name ]) v (at name defs)
          else evalTree (loc ++ [ name ]) v (at name defs)) tree;
      option = loc: o: raw:
        let
          defs = strongest (raw ++ (if o ? default then [ { file = "default"; value = lib.mkOverride 1500 o.default; } ] else [ ]));
          given = filter (d: d.priority < 1500) defs;
          value =
            if defs == [ ] then throw "The option `${showOption loc}' was accessed but has no value defined."
            else if o.readOnly or false && raw != [ ] then throw "The option `${showOption loc}' is read-only."
            else mergeDefs loc (o.type or types.raw) defs;
        in
        o // {
          value = (o.apply or (v: v)) value;
          definitions = map (d: d.value) given;
          definitionsWithLocations = map (d: { inherit (d) file value; }) given;
          isDefined = defs != [ ];
        };

      options = evaluated;
      values = mapAttrs (_: v: if kind v == "option" then v.value else values v);
      # A name that no option has.
      unknown = loc: tree: defs:
        concatMap (name:
          let below = at name defs; loc' = loc ++ [ name ]; in
          if !(tree ? ${name}) then [ "The option `${showOption loc'}' does not exist. Definition in ${(head below).file}" ]
          else if kind tree.${name} == "option" then [ ]
          else unknown loc' tree.${name} below) (unique (concatMap (d: names d.value) defs));
      wrong = unknown prefix declared definitions;
      config = values evaluated;
    in
    {
      inherit options;
      config = if wrong == [ ] then config else throw (head wrong);
    };
in
{
  inherit types;
  evalModules = { modules, specialArgs ? { } }: eval [ ] specialArgs modules;
}

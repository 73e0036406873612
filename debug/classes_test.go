package debug

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"netstage/stage1/fault"
)

// Every class that the agent's code can give a failure has advice of its own,
// and an example of its screen, and nothing has advice that is no such class.
// The classes are found in the sources: the constants of package fault that
// are used and, of errors that do not use it yet, what a method Class returns,
// what is stored in a field or variable called class, and what is passed to
// the functions that make classed errors.
func TestEveryClassHasAdvice(t *testing.T) {
	constants := constantsOfFault(t)
	found := map[fault.Class]string{fault.NotFound: ""}
	for _, dir := range []string{"../stage1", "../netup", "../fetch", "../mount", "../nix", "../cmd/stage1"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/faulty/") || filepath.Base(filepath.Dir(path)) == "fault" {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, class := range classesIn(file) {
				found[fault.Class(class)] = path
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if name, ok := s.X.(*ast.Ident); ok && name.Name == "fault" && constants[s.Sel.Name] != "" {
						found[constants[s.Sel.Name]] = path
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// ClassOf gives these itself.
	found[fault.Failed], found[fault.StepTimeout] = "fault", "fault"
	// One of each way to make one, lest the search finds nothing some day.
	for _, class := range []fault.Class{"no-lease", "no-driver", "timeout", "signature", "no-image", "policy", "no-filesystem", "killed", "breakpoint", "module"} {
		if _, ok := found[class]; !ok {
			t.Errorf("the search does not find %q", class)
		}
	}
	for class, path := range found {
		if !class.Known() {
			t.Errorf("%s: the class %q has no advice", path, class)
		}
		if _, ok := examples()[class]; !ok {
			t.Errorf("%s: the class %q has no example of its screen", path, class)
		}
	}
	for _, class := range fault.Classes() {
		if _, ok := found[class]; !ok {
			t.Errorf("nothing gives a failure the class %q", class)
		}
	}
}

// constantsOfFault are the classes by the names of their constants.
func constantsOfFault(t *testing.T) map[string]fault.Class {
	constants := map[string]fault.Class{}
	files, err := filepath.Glob("../stage1/fault/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			if of, ok := v.Type.(*ast.Ident); !ok || of.Name != "Class" {
				return true
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			constants[v.Names[0].Name] = fault.Class(text)
			return true
		})
	}
	for name, class := range constants {
		if !class.Known() {
			t.Errorf("fault.%s has no advice", name)
		}
	}
	if len(constants) != len(fault.Classes()) {
		t.Errorf("%d classes are constants, %d have advice", len(constants), len(fault.Classes()))
	}
	return constants
}

var className = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// classMakers are the functions that take a class, by the place of the
// argument; literals are the types whose first field is one.
var (
	classMakers = map[string]int{"newError": 1, "refuse": 0}
	literals    = map[string]bool{"Error": true, "Crash": true}
)

// classesIn lists the classes that a file names.
func classesIn(file *ast.File) []string {
	var classes []string
	constants := map[string]ast.Expr{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			constants[v.Names[0].Name] = v.Values[0]
		}
		return true
	})
	add := func(e ast.Expr) {
		if name, ok := e.(*ast.Ident); ok && constants[name.Name] != nil {
			e = constants[name.Name]
		}
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && className.MatchString(s) {
				classes = append(classes, s)
			}
		}
	}
	returned := func(f *ast.FuncDecl) {
		ast.Inspect(f, func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok {
				for _, e := range r.Results {
					add(e)
				}
			}
			return true
		})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "Class" || n.Name.Name == "ClassOf" {
				returned(n)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok {
				if i, ok := classMakers[f.Name]; ok && i < len(n.Args) {
					add(n.Args[i])
				}
			}
		case *ast.CompositeLit:
			if name, ok := n.Type.(*ast.Ident); ok && literals[name.Name] && len(n.Elts) > 0 {
				add(n.Elts[0])
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && strings.EqualFold(key.Name, "class") {
				add(n.Value)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if isClass(left) && i < len(n.Rhs) {
					add(n.Rhs[i])
				}
			}
		}
		return true
	})
	return classes
}

// isClass recognises a variable or field that holds a class.
func isClass(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "class"
	case *ast.SelectorExpr:
		return strings.EqualFold(e.Sel.Name, "class")
	}
	return false
}

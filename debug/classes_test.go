package debug

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every class that the agent's code can give a failure has advice of its own,
// and an example of its screen. The classes are found in the sources: what a
// method Class returns, what is stored in a field or variable called class,
// and what is passed to the functions that make classed errors.
func TestEveryClassHasAdvice(t *testing.T) {
	found := map[string]string{"http-404": ""}
	for _, dir := range []string{"../stage1", "../netup", "../fetch", "../mount", "../nix", "../cmd/stage1"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/faulty/") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, class := range classesIn(file) {
				found[class] = path
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// One of each way to make one, lest the search finds nothing some day.
	for _, class := range []string{"no-lease", "no-driver", "timeout", "signature", "no-image", "policy", "no-filesystem", "killed", "breakpoint", "step-timeout", "module"} {
		if _, ok := found[class]; !ok {
			t.Errorf("the search does not find %q", class)
		}
	}
	for class, path := range found {
		if advice(class) == nil {
			t.Errorf("%s: the class %q has no advice", path, class)
		}
		if _, ok := examples()[class]; !ok {
			t.Errorf("%s: the class %q has no example of its screen", path, class)
		}
		if !slices.Contains(Classes(), class) {
			t.Errorf("%s: the class %q is not among the Classes", path, class)
		}
	}
	for _, class := range Classes() {
		if _, ok := found[class]; !ok {
			t.Errorf("nothing gives a failure the class %q", class)
		}
	}
}

var className = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// classMakers are the functions that take a class, by the place of the
// argument; literals are the types whose first field is one.
var (
	classMakers = map[string]int{"newError": 1, "refuse": 0}
	literals    = map[string]bool{"Error": true, "ImageError": true, "Crash": true}
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

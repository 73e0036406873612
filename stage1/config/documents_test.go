package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The table of docs/parameters.md has every parameter that the readers of the
// command line know, and no other ones: they are found in the sources, as what
// a switch over a parameter's key names, and what Parse hands to ipparam.
func TestParametersAreDocumented(t *testing.T) {
	read := parametersRead(t)
	for _, known := range []string{"rootfs", "roothash", "boot.debug1", "debug1", "boot.report", "findiso", "ip", "BOOTIF", "bond"} {
		if !slices.Contains(read, known) {
			t.Errorf("the search does not find %s", known)
		}
	}
	// Package kmod reads these two.
	read = append(read, "modprobe.blacklist", "MODULE.PARAM")

	told := parametersTold(t)
	for _, name := range read {
		if !slices.Contains(told, name) {
			t.Errorf("%s is read, and not in docs/parameters.md", name)
		}
	}
	for _, name := range told {
		if !slices.Contains(read, name) {
			t.Errorf("%s is in docs/parameters.md, and not read", name)
		}
	}
}

func parametersRead(t *testing.T) []string {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	literal := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			name, _ := strconv.Unquote(lit.Value)
			names = append(names, name)
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SwitchStmt:
				if tag, ok := n.Tag.(*ast.SelectorExpr); ok && tag.Sel.Name == "Key" {
					for _, clause := range n.Body.List {
						for _, e := range clause.(*ast.CaseClause).List {
							literal(e)
						}
					}
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "All" && len(n.Args) == 1 {
					literal(n.Args[0])
				}
			}
			return true
		})
	}
	return names
}

// parametersTold are the names in the first column of the table.
func parametersTold(t *testing.T) []string {
	text, err := os.ReadFile("../../docs/parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Kernel parameters\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(section, -1) {
		for _, word := range regexp.MustCompile("`([^`=]+)[^`]*`").FindAllStringSubmatch(row[1], -1) {
			names = append(names, word[1])
		}
	}
	return names
}

package ref

import "testing"

func TestThrough(t *testing.T) {
	for _, c := range []struct{ at, cache, want string }{
		{"http://images.example/boot/web.erofs", "http://rack1:8080/", "http://rack1:8080/http/images.example/boot/web.erofs"},
		{"https://images.example:8443/web.erofs", "http://rack1:8080", "http://rack1:8080/https/images.example:8443/web.erofs"},
		{"http://[2001:db8::1]:81/a%2Fb%20c", "https://rack1/deep/er/", "https://rack1/deep/er/http/[2001:db8::1]:81/a%2Fb%20c"},
		{"http://joe:geheim@images.example/x", "http://rack1/", ""},              // the password is nobody else's
		{"https://images.example/x?X-Amz-Signature=geheim", "http://rack1/", ""}, // neither is this
		{"tftp://images.example/x", "http://rack1/", ""},
		{"http://rack1:8080/x", "http://rack1:8080/", ""}, // it is there
		{"http://rack1:8080/x", "http://rack1:9090/", "http://rack1:9090/http/rack1:8080/x"},
	} {
		l, err := ParseURL(c.at)
		if err != nil {
			t.Fatal(err)
		}
		cache, err := ParseURL(c.cache)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := l.Through(cache)
		if ok != (c.want != "") || ok && got.URL().String() != c.want {
			t.Errorf("%s through %s: %s, %v", c.at, c.cache, got.URL(), ok)
		}
	}
	if _, ok := FileAt("/x").Through(Location{}); ok {
		t.Error("a file is had through a cache")
	}
}

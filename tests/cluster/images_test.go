package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/registry"
)

func TestPushedImage(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	binary := filepath.Join(t.TempDir(), "shop")
	if err := os.WriteFile(binary, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	reference := strings.TrimPrefix(server.URL, "http://") + "/shop:base"
	var digests [2]string
	for i := range digests {
		if err := pushImage([]string{"--image", reference, "--binary", binary}); err != nil {
			t.Fatal(err)
		}
		image, err := crane.Pull(reference)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[i] = digest.String()
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/shop" {
			t.Errorf("runs %v as %q", config.Config.Entrypoint, config.Config.User)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the same program makes two images: %v", digests)
	}
}

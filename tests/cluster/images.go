package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pushImage packs one static executable as an image and pushes it. The same executable always
// makes the same digest: nothing in the image depends on the time.
func pushImage(args []string) error {
	flags := flag.NewFlagSet("push", flag.ExitOnError)
	image := flags.String("image", "", "where to, for example localhost:5000/shop:base")
	binary := flags.String("binary", "", "the executable, which becomes the image's only file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	reference, err := name.NewTag(*image, name.Insecure)
	if err != nil {
		return err
	}
	packed, err := pack(*binary)
	if err != nil {
		return err
	}
	if err := remote.Write(reference, packed); err != nil {
		return err
	}
	digest, err := packed.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", reference, digest)
	return nil
}

func pack(binary string) (v1.Image, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	executable := path.Join("/", filepath.Base(binary))
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	header := &tar.Header{Name: executable[1:], Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
	if err := writer.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	packed, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	config, err := packed.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	// A number, not a name: Pod Security `restricted` cannot tell whether a name is root.
	config.Config.User = "65532:65532"
	config.Config.Entrypoint = []string{executable}
	return mutate.ConfigFile(packed, config)
}

package cri

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

// imageStore implements node.Images.
type imageStore struct{ r *Runtime }

func (s imageStore) Image(ctx context.Context, name string) (*node.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	a, err := s.r.images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil || a.Image == nil {
		return nil, err
	}
	im := imageOf(a.Image)
	return &im, nil
}

func imageOf(i *runtimeapi.Image) node.Image {
	im := node.Image{ID: i.Id, Names: append(append([]string(nil), i.RepoDigests...), i.RepoTags...), Size: int64(i.Size), User: i.Username}
	if i.Uid != nil {
		im.UID = &i.Uid.Value
	}
	return im
}

// pullTimeout bounds one pull, in case the registry stops sending.
const pullTimeout = 30 * time.Minute

func (s imageStore) Pull(ctx context.Context, name string, credentials []node.Credential) (*node.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	if len(credentials) == 0 {
		credentials = []node.Credential{{}}
	}
	var err error
	for _, c := range credentials {
		req := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}}
		if c != (node.Credential{}) {
			req.Auth = &runtimeapi.AuthConfig{Username: c.Username, Password: c.Password, Auth: c.Auth, IdentityToken: c.IdentityToken}
		}
		if _, err = s.r.images.PullImage(ctx, req); err != nil {
			continue
		}
		im, err := s.Image(ctx, name)
		if err != nil || im == nil {
			return nil, fmt.Errorf("image %q was pulled and is not there: %w", name, err)
		}
		return im, nil
	}
	return nil, err
}

func (s imageStore) List(ctx context.Context) ([]node.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	a, err := s.r.images.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	out := make([]node.Image, len(a.Images))
	for i, im := range a.Images {
		out[i] = imageOf(im)
	}
	return out, nil
}

func (s imageStore) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := s.r.images.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: id}}); err != nil {
		return fmt.Errorf("removing image %s: %w", id, err)
	}
	return nil
}

// ImageDisk is the size of the file system that the images are on, and what is free of it, in bytes.
func (r *Runtime) ImageDisk(ctx context.Context) (capacity, available int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	a, err := r.images.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		return 0, 0, fmt.Errorf("asking the container runtime where its images are: %w", err)
	}
	if len(a.ImageFilesystems) == 0 {
		return 0, 0, errors.New("the container runtime does not say where its images are")
	}
	var disk unix.Statfs_t
	path := a.ImageFilesystems[0].GetFsId().GetMountpoint()
	if err := unix.Statfs(path, &disk); err != nil {
		return 0, 0, fmt.Errorf("looking at the disk of %s: %w", path, err)
	}
	return int64(disk.Blocks) * disk.Bsize, int64(disk.Bavail) * disk.Bsize, nil
}

// removeLogs removes a container's log file and what rotation has made of it.
func removeLogs(path string) error {
	rotated, err := filepath.Glob(path + ".*")
	if err != nil {
		return fmt.Errorf("looking for the rotated logs of %s: %w", path, err)
	}
	for _, p := range append(rotated, path) {
		if err := os.Remove(p); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("removing a container's log: %w", err)
		}
	}
	return nil
}

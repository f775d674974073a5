"""The release definition: what to build. Written by people, holds no address."""

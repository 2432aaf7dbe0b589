"""People in films: landmarks of body, hands and face, and a matte, by MediaPipe in an environment of its own."""

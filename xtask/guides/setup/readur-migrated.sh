# Everything has moved.
migrate

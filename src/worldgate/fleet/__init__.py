"""What runs where: releases, deployments on three planes, as-of, incidents and their replay."""
